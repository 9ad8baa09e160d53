"""A bad link: a UDP relay that loses, doubles and delays datagrams, and lets only small ones pass."""
import random
import selectors
import socket
import threading
import time

HELD_S = 0.05  # a datagram that is overtaken arrives so much later


class Link:
    """Point a client at .port; .lost, .doubled, .overtaken and .largest say what happened."""

    def __init__(self, gateway, loss=0.0, double=0.0, overtake=0.0, mtu=65535, lose=None, seed=1):
        """lose: beside chance, (0 towards the gateway or 1 from it, which datagram, counted from 1)."""
        self.loss, self.double, self.overtake, self.mtu, self.lose = loss, double, overtake, mtu, lose
        self.lost = self.doubled = self.overtaken = self.largest = self.too_large = 0
        self._to = ("127.0.0.1", gateway.port)
        self._random = random.Random(seed)
        self._counts = [0, 0]
        self._upstream = {}  # a client's address: its socket towards the gateway
        self._held = []      # (when, socket, address or None, datagram)
        self._selector = selectors.DefaultSelector()
        self._listen = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listen.bind(("127.0.0.1", 0))
        self.port = self._listen.getsockname()[1]
        self._selector.register(self._listen, selectors.EVENT_READ, None)
        self._wake, self._stop = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.send(b"x")
        self._thread.join(30)
        for sock in [self._listen, self._wake, self._stop] + list(self._upstream.values()):
            sock.close()
        self._selector.close()

    @staticmethod
    def _deliver(sock, address, datagram):
        try:
            if address is None:
                sock.send(datagram)
            else:
                sock.sendto(datagram, address)
        except OSError:
            pass  # nobody is there any more

    def _pass(self, direction, sock, address, datagram):
        self._counts[direction] += 1
        self.largest = max(self.largest, len(datagram))
        if len(datagram) > self.mtu:
            self.too_large += 1
            return
        if self.lose == (direction, self._counts[direction]) or self._random.random() < self.loss:
            self.lost += 1
            return
        if self._random.random() < self.overtake:
            self.overtaken += 1
            self._held.append((time.monotonic() + HELD_S, sock, address, datagram))
            return
        self._deliver(sock, address, datagram)
        if self._random.random() < self.double:
            self.doubled += 1
            self._held.append((time.monotonic() + HELD_S, sock, address, datagram))

    def _from_client(self):
        datagram, client = self._listen.recvfrom(65536)
        sock = self._upstream.get(client)
        if sock is None:
            sock = self._upstream[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(self._to)
            self._selector.register(sock, selectors.EVENT_READ, client)
        self._pass(0, sock, None, datagram)

    def _from_gateway(self, sock, client):
        try:
            datagram = sock.recv(65536)
        except OSError:
            return
        self._pass(1, self._listen, client, datagram)

    def _release(self):
        now = time.monotonic()
        ready = [held for held in self._held if held[0] <= now]
        self._held = [held for held in self._held if held[0] > now]
        for _, sock, address, datagram in ready:
            self._deliver(sock, address, datagram)

    def _run(self):
        while True:
            wait = max(0.0, min(held[0] for held in self._held) - time.monotonic()) if self._held else None
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._wake:
                    return
                if key.fileobj is self._listen:
                    self._from_client()
                else:
                    self._from_gateway(key.fileobj, key.data)
            self._release()
