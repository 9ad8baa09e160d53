"""Keys and secrets from the environment and from systemd's credentials; none of them on a command line or in a log."""
import base64
import os

import pytest

import est
import gateway as gateway_module
import pki
import scep
from gateway import binary, run
from mdm_server import MdmServer


def pem_lines(pem):
    """What would give a key away: its longer lines."""
    return [line for line in pem.splitlines() if len(line) > 20 and not line.startswith("-----")]


class Place:
    """A gateway whose keys are nowhere but in its environment and its directory of credentials."""

    def __init__(self, gateway, mdm, folder, monkeypatch):
        self.gateway = gateway
        self.credentials = folder / "credentials"
        self.credentials.mkdir(mode=0o700)
        self.env = dict(gateway_module.ENV, CREDENTIALS_DIRECTORY=str(self.credentials))
        monkeypatch.setattr(gateway_module, "ENV", self.env)
        self.ca_key = self.taken("ca/issuing.key")
        self.env["ISSUING_KEY"] = self.ca_key
        self.tls_key = self.taken("tls/server.key")
        self.give("tls.key", self.tls_key)
        self.secret = open(mdm.bearer_file).read().strip()
        self.give("mdm.token", self.secret + "\n")
        gateway.settings["cas"][0]["key"] = "env:ISSUING_KEY"
        gateway.settings["tls"]["key"] = "credential:tls.key"
        gateway.settings["mdms"] = [dict(mdm.settings("webhook"), name="webhook", secret_file="credential:mdm.token")]

    def taken(self, name):
        path = os.path.join(self.gateway.dir, name)
        text = open(path).read()
        os.unlink(path)
        return text

    def give(self, name, text):
        path = self.credentials / name
        path.unlink(missing_ok=True)  # nobody but root may write to the one that is there
        path.write_text(text)
        path.chmod(0o440)  # as systemd's ACL shows it

    def shown(self):
        """Command line and log."""
        pid = self.gateway.process.pid
        with open("/proc/%d/cmdline" % pid, "rb") as line:
            return line.read().decode() + self.gateway.log

    def check(self):
        self.gateway.write()
        return run(binary("enrolld"), "-c", self.gateway.conf, "--check", env=self.env)


@pytest.fixture(scope="module")
def mdm(tmp_path_factory):
    with MdmServer(tmp_path_factory.mktemp("mdm")) as server:
        yield server


@pytest.fixture
def place(new_gateway, mdm, tmp_path, monkeypatch):
    return Place(scep.configure(new_gateway()), mdm, tmp_path, monkeypatch)


def told_nothing(place, *secrets):
    text = place.shown()
    for secret in secrets:
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode() not in text


def test_keys_and_secrets_come_from_variables_and_credentials(place, acme, mdm):
    gateway = place.gateway
    gateway.settings["identity"].append({"name": "webhook-cn", "trust": "webhook", "field": "subject_cn",
                                         "pattern": "DEV-([A-Z0-9]+)", "anchor": "mdm_id"})
    scep.add_label(gateway, "phones", auth=["mdm", "own"], scep_mdm="webhook")
    assert place.check().stderr == ""
    gateway.start()
    device = gateway.own(acme.idevid())
    assert est.enroll(gateway, pki.csr(pki.ec_key()), device).status == 200
    phone = acme.idevid()
    gateway.import_rows([gateway.row(phone, anchor=["mdm_id:webhook:" + phone.serial])])
    mdm.expect("challenge-1", phone.serial)
    signer = scep.Signer(subject="CN=DEV-" + phone.serial)
    message = scep.pkcs_req(gateway.ra, signer, "challenge-1", subject="CN=DEV-" + phone.serial)
    assert scep.send(gateway, message, "phones").status == scep.SUCCESS
    seen = mdm.await_seen("webhook")
    assert place.secret in seen["headers"]["authorization"]
    # A reload reads what is there by then; what cannot be used is told without a word of it.
    place.give("mdm.token", "second-" + place.secret + "\n")
    assert "is in force" in gateway.reload(write=False)
    place.give("tls.key", "no key but " + place.secret + "\n")
    text = gateway.reload(write=False)
    assert "credential:tls.key holds no PEM private key" in text
    told_nothing(place, place.secret, *pem_lines(place.ca_key), *pem_lines(place.tls_key))
    gateway.stop()


MISTAKES = {
    "an unset variable": ({"ISSUING_KEY": None}, None, "there is no such variable"),
    "an empty variable": ({"ISSUING_KEY": ""}, None, "env:ISSUING_KEY is empty"),
    "half a key": ({"ISSUING_KEY": "-----BEGIN PRIVATE KEY-----\nsuperfluous\n"}, None, "holds no PEM private key"),
    "no directory": ({"CREDENTIALS_DIRECTORY": None}, None, "run under systemd with LoadCredential=tls.key:"),
    "a directory for all": ({}, 0o755, "is open to others (mode 0755)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_by_the_check_and_by_the_start(place, name):
    changed, mode, text = MISTAKES[name]
    for key, value in changed.items():
        place.env.pop(key)
        if value is not None:
            place.env[key] = value
    if mode is not None:
        place.credentials.chmod(mode)
    done = place.check()
    assert done.returncode == 1 and text in done.stderr, done.stderr
    assert place.secret not in done.stderr and "superfluous" not in done.stderr
    started = run(binary("enrolld"), "-c", place.gateway.conf, env=place.env)
    assert started.returncode != 0 and text in started.stderr, started.stderr
    assert place.secret not in started.stderr and "superfluous" not in started.stderr
