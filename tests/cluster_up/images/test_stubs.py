"""The libraries that stand in for larger ones in the launcher's image, compiled and loaded."""

import ctypes
import shutil
from pathlib import Path

import pytest

from cluster_up.images import components

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.runs_processes,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler"),
]

# Where each begins, as what programs ask for: library, version, function, how it says that there is nothing.
BEGINNINGS = (
    ("libcapstone.so.5", "", "cs_open", 3),
    ("libssh.so.4", "LIBSSH_4_5_0", "ssh_init", -1),
    ("libssh.so.4", "LIBSSH_4_5_0", "ssh_new", 0),
    ("libssh.so.4", "LIBSSH_4_10_0", "ssh_channel_get_exit_state", -1),
    ("libssh2.so.1", "", "libssh2_session_init_ex", 0),
    ("libcurl-gnutls.so.4", "CURL_GNUTLS_3", "curl_global_init", -1),
    ("libcurl-gnutls.so.4", "CURL_GNUTLS_3", "curl_easy_init", 0),
    ("libsasl2.so.2", "SASL2", "sasl_client_init", -1),
    ("libsasl2.so.2", "SASL2", "sasl_server_init", -1),
    ("librdmacm.so.1", "RDMACM_1.0", "rdma_create_event_channel", 0),
    ("libibverbs.so.1", "IBVERBS_1.0", "ibv_create_comp_channel", 0),
    ("libibverbs.so.1", "IBVERBS_1.1", "ibv_get_device_list", 0),
)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stubs") / "lib"
    components.stubs(ROOT, made)
    return made


def test_each_library_is_made_and_each_list_of_versions_belongs_to_one(stubs: Path) -> None:
    made = {path.name for path in stubs.iterdir()}
    assert made >= {library for library, *_ in BEGINNINGS} | {"libpmem.so.1"}
    folder = ROOT / "virt/launcher/stubs"
    assert {path.stem for path in folder.glob("*.map")} <= made


@pytest.mark.parametrize(("library", "version", "function", "nothing"), BEGINNINGS)
def test_what_stands_in_says_that_there_is_nothing(
    stubs: Path, library: str, version: str, function: str, nothing: int
) -> None:
    """A program that is linked to a versioned function takes no other."""
    loaded = ctypes.CDLL(str(stubs / library))
    found = ctypes.cast(loaded[function], ctypes.c_void_p).value
    if version:
        find = ctypes.CDLL(None).dlvsym
        find.restype = ctypes.c_void_p
        found = find(ctypes.c_void_p(loaded._handle), function.encode(), version.encode())
    assert found, f"{library} has no {function}@{version}"
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(found)
    room = ctypes.create_string_buffer(64)
    assert call(room, 0, room) == nothing
