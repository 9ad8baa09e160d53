"""What the system and the interop tests share: folders, manufacturers, gateways, and logs when a test fails."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "system"))

import pytest  # noqa: E402

import pki  # noqa: E402
import scep  # noqa: E402
from gateway import Gateway  # noqa: E402

LOG_TAIL = 6000
# Whole files go to the workers of pytest-xdist in the order of the collection: one that takes long must not be the last one.
LONG = ["test_ca_faults.py", "test_ca_cmp.py", "test_ca_crash.py", "test_ca_failover.py", "test_coap_late.py", "test_coap_crowd.py",
        "test_scep_interop.py", "test_scep_pending.py", "test_threats.py", "test_interop.py", "test_idempotence.py",
        "test_crash.py", "test_ca_crash_revoke.py",
        "test_ca_crash_servers.py", "test_ca_crash_group.py", "test_ca_crash_resolve.py", "test_ca_crash_holds.py",
        "test_ca_crash_quarantine.py", "test_crash_rollover.py", "test_crash_migrate.py", "test_coap_blocks.py", "test_limits.py"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for gateway in Gateway.running:
            report.sections.append(("enrolld in " + gateway.dir, gateway.log[-LOG_TAIL:]))


@pytest.fixture(scope="module", autouse=True)
def keys():
    scep.forget_keys()


@pytest.fixture(scope="session")
def acme(tmp_path_factory):
    return pki.Manufacturer(tmp_path_factory.mktemp("acme"), "acme")


@pytest.fixture(scope="session")
def globex(tmp_path_factory):
    return pki.Manufacturer(tmp_path_factory.mktemp("globex"), "globex")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """A manufacturer that no gateway trusts."""
    return pki.Manufacturer(tmp_path_factory.mktemp("stranger"), "stranger")


def _stop_all(made):
    problems = []
    for gateway in made:
        try:
            gateway.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def new_gateway(tmp_path, acme):
    """Make gateways for one test; all are stopped, and their exits checked, at its end."""
    made = []

    def make(*trust):
        made.append(Gateway(tmp_path / ("gw%d" % len(made)), trust or (acme,)))
        return made[-1]

    yield make
    _stop_all(made)


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory, acme):
    """Make gateways for all tests of a file."""
    made = []

    def make(*trust):
        made.append(Gateway(tmp_path_factory.mktemp("gw"), trust or (acme,)))
        return made[-1]

    yield make
    _stop_all(made)


@pytest.fixture
def device(acme, gw):
    """A factory-new device that the file's gateway owns."""
    return gw.own(acme.idevid())
