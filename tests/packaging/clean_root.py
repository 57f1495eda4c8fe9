# SPDX-License-Identifier: Apache-2.0
"""A root file system to install into: this machine's own below, memory above. What is written
there is seen by nobody else, and gone with the process."""

import ctypes
import fcntl
import glob
import os
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
CLONE_NEWNS = 0x00020000
PACKAGES = ("libebpf0", "libebpf-dev", "ebpf-producer", "ebpfctl")

# What package management keeps for itself.
BOOKKEEPING = ("var/lib/dpkg/", "var/log/", "var/cache/", "etc/ld.so.cache", "etc/group-",
               "etc/gshadow-", "etc/.pwd.lock", "run/systemd/systemd-units-load", "dev/null")


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def _newest(paths):
    return max((os.stat(path).st_mtime for path in paths if os.path.exists(path)), default=0)


def packages_of(build):
    """The paths of the Debian packages of a built tree; made where they are not there or old."""
    inputs = [f"{build}/bin/{name}" for name in ("ebpf-producer", "ebpfctl", "ebpf-tail")]
    inputs += glob.glob(f"{build}/lib/libebpf.*") + [f"{build}/bpf/socket_trace.o"]
    for folder in ("packaging", "cmake", "include", "scripts"):
        for where, _, names in os.walk(os.path.join(SOURCE, folder)):
            inputs += [os.path.join(where, name) for name in names if not name.endswith(".pyc")]
    with open(f"{build}/packages.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = glob.glob(f"{build}/packages/*.deb")
        if len(found) != len(PACKAGES) or min(map(os.path.getmtime, found)) < _newest(inputs):
            subprocess.run([os.path.join(SOURCE, "scripts/packages.sh"), build], check=True)
        found = sorted(glob.glob(f"{build}/packages/*.deb"))
    names = sorted(os.path.basename(path).split("_")[0] for path in found)
    if names != sorted(PACKAGES):
        sys.exit(f"the packages are {names}")
    return found


class CleanRoot:
    """One per process, which has its own view of the mounts from then on."""

    def __init__(self):
        if os.geteuid() != 0:
            skip("needs root")
        if ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
            skip("no mount namespace of our own")
        self._made = None
        self._folder = self._private_folder()
        self.upper = f"{self._folder}/upper"
        self.path = f"{self._folder}/root"
        self._mount("-t", "tmpfs", "-o", "mode=755", "root", self._folder)
        for name in ("upper", "work", "root"):
            os.mkdir(f"{self._folder}/{name}")
        overlay = f"lowerdir=/,upperdir={self.upper},workdir={self._folder}/work"
        done = subprocess.run(["mount", "-t", "overlay", "root", "-o", overlay, self.path],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            skip(f"no overlay here: {done.stderr.strip()}")
        for name in ("proc", "sys", "dev"):
            self._mount("--bind", f"/{name}", f"{self.path}/{name}")
        for name in ("tmp", "run"):
            self._mount("-t", "tmpfs", "-o", "mode=1777" if name == "tmp" else "mode=755", name,
                        f"{self.path}/{name}")

    def _private_folder(self):
        """A folder to mount on that no other namespace hears of."""
        if self._make_private("/"):
            self._made = tempfile.mkdtemp(prefix="libebpf-root-")
            return self._made
        # Where / is no mount point (a chroot), another one serves.
        for place in ("/dev/shm", "/sys/kernel/debug", "/sys/fs/cgroup", "/dev/mqueue"):
            if os.path.ismount(place) and self._make_private(place):
                return place
        return skip("no mount point that could be made private")

    @staticmethod
    def _make_private(place):
        return subprocess.run(["mount", "--make-rprivate", place], capture_output=True,
                              check=False).returncode == 0

    @staticmethod
    def _mount(*arguments):
        subprocess.run(["mount", *arguments], check=True)

    def remove(self):
        """The folder that it was mounted on, which alone would stay."""
        subprocess.run(["umount", "-R", "-l", self._folder], check=False)
        if self._made:
            os.rmdir(self._made)

    def protect(self):
        """As systemd's ProtectSystem=strict, ProtectHome=yes and PrivateTmp=yes leave it."""
        for name in ("home", "root"):
            if os.path.isdir(f"{self.path}/{name}"):
                self._mount("-t", "tmpfs", "-o", "ro,mode=0", name, f"{self.path}/{name}")
        self._mount("-o", "remount,bind,ro", self.path)
        self._mount("-o", "remount,bind,ro", f"{self.path}/run")

    def command(self, *command, user=None):
        where = [f"--userspec={user}"] if user else []
        return ["chroot", *where, self.path, *command]

    def run(self, *command, wanted=0, user=None, **extra):
        """Inside; gives what was printed."""
        environment = {**os.environ, "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                       "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **extra}
        done = subprocess.run(self.command(*command, user=user), env=environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if wanted is not None and done.returncode != wanted:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}, not {wanted}:\n"
                     f"{done.stdout}")
        return done.stdout

    def copy_in(self, paths, folder):
        os.makedirs(self.path + folder, exist_ok=True)
        subprocess.run(["cp", *paths, self.path + folder], check=True)
        return [f"{folder}/{os.path.basename(path)}" for path in paths]

    def read(self, path):
        with open(self.path + path, encoding="utf-8") as file:
            return file.read()

    def written(self):
        """Files that are there now and were not, or are others than they were."""
        found = set()
        for folder, _, names in os.walk(self.upper):
            for name in names:
                path = os.path.join(folder, name)
                inside = os.path.relpath(path, self.upper)
                if inside.startswith(BOOKKEEPING) or inside.endswith("~"):
                    continue
                below = os.path.join("/", inside)
                if os.path.lexists(os.path.join(self.path, inside)) and not same(path, below):
                    found.add(inside)
        return found

    def folders(self):
        """Folders of ours that are there."""
        return {os.path.relpath(os.path.join(where, name), self.path)
                for top in ("usr", "etc", "run", "var/lib", "lib")
                for where, names, _ in os.walk(os.path.join(self.path, top))
                for name in names if "ebpf" in name}


def same(first, second):
    if os.path.islink(first) or not os.path.isfile(second):
        return False
    with open(first, "rb") as one, open(second, "rb") as other:
        return one.read() == other.read()
