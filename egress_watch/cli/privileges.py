"""Give up every right that is not needed any more.

In: the name of a user, or nothing. Out: a process of that user without capabilities. Never: a right that comes back:
the kernel's no_new_privs holds for every program started from here.

Done once the interfaces are open and before anything else is: data, rules and the database are opened with the rights
that the process keeps for months, so what it may not read shows at the start. See capabilities(7) and prctl(2).
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import struct

from egress_watch.errors import UsageError

CAPBSET_DROP, SET_NO_NEW_PRIVS, CAP_AMBIENT, CLEAR_ALL = 24, 38, 47, 4
CAPABILITY_VERSION_3 = 0x20080522
SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91, "armv7l": 185, "i686": 185, "ppc64le": 184, "s390x": 185}
"""Number of the system call; glibc has no function for it."""
MOST_CAPABILITIES = 64


def give_up(user: str = "") -> list[str]:
    """Become ``user``, if one is named, and drop all capabilities; return what could not be done, in words.

    UsageError for a user that is not there, or that this process may not become.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(MOST_CAPABILITIES):  # needs CAP_SETPCAP, so it comes first; without it nothing can come back
        libc.prctl(CAPBSET_DROP, number, 0, 0, 0)
    if user:
        _become(user)
    libc.prctl(CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    failed = libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
    capset = SYS_CAPSET.get(os.uname().machine)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0), 8)
    none = ctypes.create_string_buffer(bytes(24), 24)
    failed |= capset is None or libc.syscall(capset, header, none) != 0
    told = ["capabilities could not be given up"] if failed else []
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - names are enough
        told.append("a library's thread keeps its rights, since rights are those of a thread")
    if os.geteuid() == 0:
        told.append("runs as root, which it need not: name a user with --user, or use the service (docs/service.md)")
    return told


def _become(user: str) -> None:
    """Change user, group and all other groups; UsageError where that cannot be."""
    try:
        who = pwd.getpwnam(user)
    except KeyError as error:
        raise UsageError("no such user", where=user, remedy=f"useradd --system {user}, or name another") from error
    if os.geteuid() == who.pw_uid:
        return
    groups = [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]
    try:
        os.setgroups([who.pw_gid, *groups])
        os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
        os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)
    except PermissionError as error:
        raise UsageError("only root can become another user", where=user, remedy="leave --user out") from error
    if not os.access(os.__file__, os.R_OK):
        raise UsageError("may not read Python itself", where=user, remedy="install it where that user can read it")
