"""The vault connector in front of a standby node, which passes requests on: also when the active node's answer is lost."""
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))

import driver  # noqa: E402
import vault_peer  # noqa: E402
from gateway import free_port  # noqa: E402


class Relay:
    """Connections to a port of 127.0.0.1, until they are cut; deaf: what comes back is kept from then on."""

    def __init__(self, port):
        self.behind, self.deaf, self.socks, self.threads = port, threading.Event(), [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._begin(self._accept)

    def _begin(self, *call):
        self.threads.append(threading.Thread(target=call[0], args=call[1:], daemon=True))
        self.threads[-1].start()

    def _accept(self):
        while True:
            try:
                conn = self.listener.accept()[0]
                self.socks += [conn, socket.create_connection(("127.0.0.1", self.behind))]
            except OSError:
                return
            self._begin(self._pass, conn, self.socks[-1], False)
            self._begin(self._pass, self.socks[-1], conn, True)

    def _pass(self, source, sink, back):
        try:
            for octets in iter(lambda: source.recv(65536), b""):
                if not (back and self.deaf.is_set()):
                    sink.sendall(octets)
        except OSError:
            pass

    def cut(self):
        for sock in [self.listener] + self.socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        for thread in self.threads:
            thread.join(30)


def has_second_node():
    told = subprocess.run([vault_peer.PROGRAM, "server", "-h"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return "standby-listen-address" in told.stdout + told.stderr


@pytest.fixture
def pair(tmp_path):
    if vault_peer.PROGRAM is None:
        pytest.skip(vault_peer.MISSING)
    if not has_second_node():
        pytest.skip("only tests/peers/vault begins two nodes at once")
    cluster, standby = free_port(), free_port()
    relay = Relay(cluster)
    peer = vault_peer.VaultPeer(driver.Hierarchy(tmp_path), "-dev-ha", "-standby-listen-address=127.0.0.1:%d" % standby,
                                "-cluster-listen-address=127.0.0.1:%d" % cluster, "-cluster-address=127.0.0.1:%d" % relay.port)
    peer.relay = relay
    peer.settings["url"] = "https://127.0.0.1:%d" % standby
    try:
        peer.await_passing_on(peer.settings["url"])
        yield peer
    finally:
        relay.cut()
        peer.stop()


def issue(peer):
    csr, key = peer.tree.csr("rtr-7")
    return key, driver.drive(peer.settings, "issue", csr, "gw-1-0", cn="rtr-7", o="Example Works")


def test_it_passes_requests_on(pair):
    key, done = issue(pair)
    driver.check_issued(done, pair.tree.issuing_cert, key)
    assert driver.drive(pair.settings, "check").code == 0
    assert driver.drive(pair.settings, "revoke", done.serial, 4).code == 0


def test_when_the_answer_is_lost_behind_it_nobody_knows_whether_it_was_issued(pair):
    """It answers with a redirection, as if it had never passed the request on; the certificate is there."""
    _, done = issue(pair)
    assert done.state == "issued", done.text
    pair.settings.update(pair.as_root())  # no login, which would be lost as well
    before, lost = len(pair.serials()), []
    asking = threading.Thread(target=lambda: lost.append(issue(pair)[1]), daemon=True)
    pair.relay.deaf.set()
    asking.start()
    ends = time.monotonic() + vault_peer.READY_S
    while len(pair.serials()) == before:
        assert time.monotonic() < ends, pair.service.text()
        time.sleep(vault_peer.POLL_S)
    pair.relay.cut()
    asking.join(vault_peer.READY_S)
    assert lost[0].state == "unknown" and "HTTP 307" in lost[0].text, lost[0].text
