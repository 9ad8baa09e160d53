"""
Kill -9 and power loss at every kind of step of an enrollment with the connectors that test_ca_crash.py leaves out: Vault, EJBCA and
SCEP, in front of the servers of tests/ca, whose books say what was issued.
"""
import contextlib
import os
import socket
import sys
import threading

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ca"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import driver  # noqa: E402
import pki  # noqa: E402
import scep  # noqa: E402
from ejbca_server import EjbcaServer  # noqa: E402
from scep_server import ScepServer  # noqa: E402
from test_ca_crash import By, Peer, WAIT_S, public, through_deaths  # noqa: E402
from vault_server import VaultServer  # noqa: E402


class Settling:
    """Who talks to a server of this process, so that a test can wait until nobody does."""

    def __init__(self, server):
        self.port, self.talks, self.news = server.server_port, 0, threading.Condition()
        self._begin, self._serve = server.process_request, server.process_request_thread
        server.process_request, server.process_request_thread = self.begin, self.serve
        server.handle_error = lambda request, address: None  # half a request is what a dead gateway leaves

    def begin(self, request, address):
        with self.news:
            self.talks += 1
        self._begin(request, address)

    def serve(self, request, address):
        try:
            self._serve(request, address)
        finally:
            with self.news:
                self.talks -= 1
                self.news.notify_all()

    def settle(self):
        """The gateway is gone: whatever it has sent was worked on, who waited to be accepted too."""
        with socket.create_connection(("127.0.0.1", self.port)) as probe:
            probe.shutdown(socket.SHUT_WR)
            probe.settimeout(WAIT_S)
            with contextlib.suppress(ConnectionError):
                while probe.recv(4096):
                    pass
        with self.news:
            assert self.news.wait_for(lambda: self.talks == 0, WAIT_S)


class Served(By):
    """A server in this process; make(folder) gives it and the settings of its own."""
    tells, words, greets = True, {"", "so far"}, False
    settings, url = {"subject": "CN={tag}", "san": []}, "https://127.0.0.1:%d"  # of the gateway's profile: as in the request

    def __init__(self, folder, new_gateway, acme, name="corporate", tree=None):
        self.tree = tree or driver.Hierarchy(folder)
        self.server, settings = self.make()
        self.port = self.server.port
        self.ca = dict(settings, name=name, type=self.type, url=self.url % self.port, certificate=self.tree.issuing,
                       chain=[self.tree.root])
        self.settling = Settling(self.server.server)

    def begin(self, key):
        """Of a round: the gateway, whose store is as it was, gives names to its requests that it gave before."""
        super().begin(key)
        self.server.issued.clear()

    def restarted(self):
        self.settling.settle()

    def issued(self):
        return [(one.revoked is None, one.cert) for one in list(self.server.issued) if public(one.cert) == public(self.key)]

    def close(self):
        self.server.stop()


class HandedIn:
    """What an operator finds there, nothing being under way any more, is handed in."""

    def says(self):
        found = [cert for valid, cert in self.issued() if valid]
        assert len(found) <= 1
        if not found:
            return ["--absent"]
        return ["--issued", self.tree.path("found.pem", found[0].public_bytes(driver.PEM))]


class ByVault(HandedIn, Served):
    """It cannot be asked what became of a request."""
    type, kind, tells, words = "vault", VaultServer, False, {"", "absent", "issued"}
    settings = {"subject": "CN={tag},O={owner}", "san": ["dns:{hostname}"]}

    def make(self):
        server = self.kind(self.tree)
        return server, {"tls_ca": self.tree.root, "profile": "device", "auth": "token",
                        "secret_file": self.tree.path("token", server.token.encode())}


class ByEjbca(Served):
    """It is searched for the name that the request has there. Who is shown nothing at all believes nothing: there is another one."""
    type, kind, before = "ejbca", EjbcaServer, 1

    def begin(self, key):
        super().begin(key)
        self.server.certify(pki.ec_key().public_key(), driver.name("neighbour"), user="neighbour")

    def make(self):
        tree = self.tree
        return self.kind(tree, clients=tree.root), {
            "tls_ca": tree.root, "profile": "DEVICE", "end_entity_profile": "DEVICE_EE", "authority": "Plant CA",
            "secret_file": tree.path("secret", os.urandom(16).hex().encode()), "client_cert": tree.server,
            "client_key": tree.server_key_file}


class ByScep(Served):
    """It is polled: the transaction is named after the request."""
    type, kind, url, before = "scep", ScepServer, "http://127.0.0.1:%d/scep", 1

    def make(self):
        own, key = self.tree.path("own"), scep.fresh_key()  # without, the gateway makes one at each start
        pki.write_pair(own, pki.ra_cert(self.tree.issuing_cert, self.tree.issuing_key, key), key)
        return self.kind(self.tree), {"tls_ca": self.tree.root, "allow_plain": True, "client_cert": own + ".pem",
                                       "client_key": "file:" + own + ".key"}

    def begin(self, key):
        super().begin(key)
        self.server.transactions.clear()


@pytest.mark.parametrize("kind", [ByVault, ByEjbca, ByScep], ids=["vault", "ejbca", "scep"])
def test_a_death_at_any_step_leaves_one_certificate_here_and_there(kind, tmp_path_factory, new_gateway, acme):
    through_deaths(kind(tmp_path_factory.mktemp("ca"), new_gateway, acme), new_gateway, acme)


@pytest.mark.parametrize("kind", [ByEjbca, ByScep], ids=["ejbca", "scep"])
def test_a_store_that_was_set_back_asks_by_other_names(kind, tmp_path_factory, new_gateway, acme):
    """So does another gateway of the same CA: what it asks for is not taken for what was asked for before."""
    by = kind(tmp_path_factory.mktemp("ca"), new_gateway, acme)
    with contextlib.closing(by):
        peer = Peer(by, new_gateway, acme)
        first = peer.enroll()[0]
        by.begin = lambda key: By.begin(by, key)  # the CA forgets nothing
        second = peer.enroll()[0]
        assert public(first) != public(second) and len(by.issued()) == 1
