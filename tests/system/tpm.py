"""A software TPM (swtpm) of its own for each test, driven by tpm2-tools; and what TPM evidence is, octet by octet."""
import os
import secrets
import shutil
import socket
import struct
import subprocess
import time

from gateway import free_port

ATTEMPTS = 5         # at two neighbouring ports that are free
START_S = 20
TOOL_S = 60
RS_PW = 0x40000009   # a session that is a password, which is empty here
CC_CERTIFY = 0x148
ALG_NULL = 0x0010
TPM_CERTIFY = "2.23.133.20.1"
TPM_AK = "2.25.54889779483990965155073606603512342294"
AK_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
KEY_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
EK_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"


def missing():
    """The Debian packages that are not there, as a sentence; None when nothing is missing."""
    wanted = [("swtpm", "swtpm"), ("swtpm_cert", "swtpm-tools"), ("tpm2_createek", "tpm2-tools")]
    lacking = [package for program, package in wanted if shutil.which(program) is None]
    return "not installed: " + ", ".join(lacking) if lacking else None


class Tpm:
    """Its files lie in the folder: name.ctx, name.pub (TPM2B_PUBLIC), name.pem."""

    def __init__(self, folder):
        self.dir = str(folder)
        os.makedirs(self.path("state"))
        self.process = None
        for _ in range(ATTEMPTS):
            if self._start():
                return
        raise AssertionError("swtpm does not start: " + self.log())

    def path(self, name):
        return os.path.join(self.dir, name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def write(self, name, octets):
        with open(self.path(name), "wb") as f:
            f.write(octets)
        return self.path(name)

    def log(self):
        try:
            return self.read("swtpm.log").decode(errors="replace")[-2000:]
        except OSError:
            return ""

    def _start(self):
        port = free_port()  # the control port has to be the next one
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.path("state"),
             "--server", "type=tcp,bindaddr=127.0.0.1,port=%d" % port,
             "--ctrl", "type=tcp,bindaddr=127.0.0.1,port=%d" % (port + 1),
             "--flags", "not-need-init,startup-clear", "--log", "file=" + self.path("swtpm.log")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.tcti = "swtpm:host=127.0.0.1,port=%d" % port
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            # The control port: a connection to the other one is the only one that it serves.
            try:
                socket.create_connection(("127.0.0.1", port + 1), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.02)
        self.stop()
        return False

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=TOOL_S)
            self.process = None

    def run(self, tool, *arguments, octets=None, works=True):
        """One tool, then free the TPM's few places for objects."""
        done = subprocess.run([tool, *arguments], cwd=self.dir, input=octets, capture_output=True, timeout=TOOL_S,
                              env=dict(os.environ, TPM2TOOLS_TCTI=self.tcti))
        if works:
            assert done.returncode == 0, "%s %s: %s" % (tool, arguments, done.stderr.decode(errors="replace"))
        if tool not in ("tpm2_startauthsession", "tpm2_policysecret"):
            subprocess.run(["tpm2_flushcontext", "-t"], cwd=self.dir, capture_output=True, timeout=TOOL_S,
                           env=dict(os.environ, TPM2TOOLS_TCTI=self.tcti))
        return done

    def ek(self, kind="rsa"):
        """By the standard template, whose use needs a policy: see activate()."""
        self.run("tpm2_createek", "-c", "ek.ctx", "-G", kind, "-u", "ek.pub")
        self.run("tpm2_readpublic", "-c", "ek.ctx", "-f", "pem", "-o", "ek.pem")

    def primary(self, name, kind, attributes, digest="sha256"):
        self.run("tpm2_createprimary", "-C", "e", "-c", name + ".ctx", "-G", kind, "-g", digest, "-a", attributes)
        self.run("tpm2_readpublic", "-c", name + ".ctx", "-f", "pem", "-o", name + ".pem")
        self.run("tpm2_readpublic", "-c", name + ".ctx", "-o", name + ".pub", "-n", name + ".name")

    def key(self, name, kind="ecc", attributes=KEY_ATTRIBUTES, digest="sha256"):
        """Below the storage root, with what is needed to certify its creation."""
        if not os.path.exists(self.path("srk.ctx")):
            self.run("tpm2_createprimary", "-C", "o", "-c", "srk.ctx", "-G", "ecc")
        self.run("tpm2_create", "-C", "srk.ctx", "-G", kind, "-g", digest, "-a", attributes, "-u", name + ".pub",
                 "-r", name + ".priv", "-d", name + ".hash", "-t", name + ".ticket")
        self.load(name)

    def load(self, name):
        self.run("tpm2_load", "-C", "srk.ctx", "-u", name + ".pub", "-r", name + ".priv", "-c", name + ".ctx",
                 "-n", name + ".name")
        self.run("tpm2_readpublic", "-c", name + ".ctx", "-f", "der", "-o", name + ".spki")

    def name_of(self, name):
        return self.read(name + ".name").hex()

    def certify_creation(self, name, ak, nonce, digest="sha256"):
        """(TPMS_ATTEST, TPMT_SIGNATURE)"""
        self.run("tpm2_certifycreation", "-C", ak + ".ctx", "-c", name + ".ctx", "-d", name + ".hash", "-t",
                 name + ".ticket", "-g", digest, "-o", "sig.out", "--attestation", "attest.out", "-q", nonce.hex())
        return self.read("attest.out"), self.read("sig.out")

    def certify(self, name, ak, nonce, scheme=struct.pack(">H", ALG_NULL)):
        """TPM2_Certify by hand: tpm2_certify cannot carry a nonce."""
        handles = []
        for i, thing in enumerate((name, ak)):
            handles.append(0x81010010 + i)
            self.run("tpm2_evictcontrol", "-C", "o", "-c", thing + ".ctx", "0x%x" % handles[i])
        password = struct.pack(">IHBH", RS_PW, 0, 0, 0)
        body = struct.pack(">III", *handles, 2 * len(password)) + 2 * password
        body += struct.pack(">H", len(nonce)) + nonce + scheme
        answer = self.run("tpm2_send", octets=struct.pack(">HII", 0x8002, 10 + len(body), CC_CERTIFY) + body).stdout
        for handle in handles:
            self.run("tpm2_evictcontrol", "-C", "o", "-c", "0x%x" % handle)
        tag, _, code, size = struct.unpack(">HIII", answer[:14])
        assert (tag, code) == (0x8002, 0), "TPM2_Certify: 0x%x" % code
        parameters = answer[14:14 + size]
        attest = 2 + struct.unpack(">H", parameters[:2])[0]
        return parameters[2:attest], parameters[attest:]

    def activate(self, ek, ak, credential, policy):
        """The secret, or None if the TPM does not give it."""
        auth = []
        out = self.path("secret.out")
        if os.path.exists(out):
            os.unlink(out)
        if policy:
            self.run("tpm2_startauthsession", "--policy-session", "-S", "session.ctx")
            self.run("tpm2_policysecret", "-S", "session.ctx", "-c", "e")
            auth = ["-P", "session:session.ctx"]
        done = self.run("tpm2_activatecredential", "-c", ak + ".ctx", "-C", ek + ".ctx", "-i", credential, "-o", out,
                        *auth, works=False)
        if policy:
            self.run("tpm2_flushcontext", "session.ctx", works=False)
        return self.read("secret.out") if done.returncode == 0 else None


def nonce():
    return secrets.token_bytes(32)


def der(tag, *contents):
    body = b"".join(contents)
    length = len(body)
    if length < 0x80:
        return bytes([tag, length]) + body
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def oid(dotted):
    arcs = [int(arc) for arc in dotted.split(".")]
    out = b""
    for arc in [arcs[0] * 40 + arcs[1]] + arcs[2:]:
        septets = [arc & 0x7f]
        while arc > 0x7f:
            arc >>= 7
            septets.insert(0, arc & 0x7f | 0x80)
        out += bytes(septets)
    return der(0x06, out)


def bundle(attest, signature, public, ak=None, certs=()):
    """An AttestationBundle with a TPM statement, the AK's public area and certificates (DER)."""
    statements = [der(0x30, oid(TPM_CERTIFY), der(0x30, der(4, attest), der(4, signature), der(4, public)))]
    if ak is not None:
        statements.append(der(0x30, oid(TPM_AK), der(4, ak)))
    parts = [der(0x30, *statements)]
    if certs:
        parts.append(der(0x30, *certs))
    return der(0x30, *parts)


class Maker:
    """A manufacturer of TPMs: a local CA for the certificates of endorsement keys."""

    CONFIG = ("statedir = {dir}/ca\nsigningkey = {dir}/ca/signkey.pem\nissuercert = {dir}/ca/issuercert.pem\n"
              "certserial = {dir}/ca/certserial\n")
    OPTIONS = "--platform-manufacturer maker\n--platform-version 1\n--platform-model one\n"
    SETUP = ("create_certs_tool = {tool}\ncreate_certs_tool_config = {dir}/localca.conf\n"
             "create_certs_tool_options = {dir}/localca.options\n")

    def __init__(self, folder):
        self.dir = str(folder)
        os.makedirs(os.path.join(self.dir, "ca"))
        for name, text in (("localca.conf", self.CONFIG), ("localca.options", self.OPTIONS), ("setup.conf", self.SETUP)):
            with open(os.path.join(self.dir, name), "w") as out:
                out.write(text.format(dir=self.dir, tool=shutil.which("swtpm_localca")))
        # Of these two, the first is made when the first TPM is.
        self.roots = [os.path.join(self.dir, "ca", name) for name in ("swtpm-localca-rootca-cert.pem", "issuercert.pem")]

    def manufacture(self, state):
        done = subprocess.run(["swtpm_setup", "--tpm2", "--tpmstate", state, "--config",
                               os.path.join(self.dir, "setup.conf"), "--create-ek-cert"],
                              capture_output=True, timeout=TOOL_S, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


class MadeTpm(Tpm):
    """A TPM as it is sold: with a certificate of its (RSA) endorsement key inside."""

    def __init__(self, folder, maker):
        self.maker = maker
        super().__init__(folder)

    def _start(self):
        if not os.listdir(self.path("state")):
            self.maker.manufacture(self.path("state"))
        return super()._start()
