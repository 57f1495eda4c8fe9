# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels, as image files: the newest of a series, taken out of its package.

Nothing is installed, and apt's configuration stays as it is; only its mirror and proxy are used. What
is downloaded is checked the way apt does it: the signature of InRelease, its checksum of
Packages, that one's checksum of the package.
"""

import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEFAULT_MIRROR = "http://deb.debian.org"
ATTEMPTS = 4
CANDIDATES = 4  # packages that are tried: a mirror may not have the newest one any more, or yet
# Images of a few MB and more; newer releases have packages of the same name without one.
PACKAGE_BYTES_MIN = 5 << 20

# Series: where its newest version is looked for, the first place that has one wins.
SERIES = {
    "5.10": [("debian-security", "bullseye-security"), ("debian", "bullseye")],
    "6.1": [("debian-security", "bookworm-security"), ("debian", "bookworm")],
    "6.12": [("debian-security", "trixie-security"), ("debian", "bookworm-backports"),
             ("debian", "trixie")],
    # It moves on quickly, and may be missing in one place for a while.
    "7": [("debian", "sid"), ("debian", "forky"), ("debian", "trixie-backports")],
}
MATRIX = tuple(SERIES)


class Unavailable(Exception):
    """The archive cannot be reached, or does not have what is looked for."""


class Untrusted(Exception):
    """What came is not what the archive signed."""


def apt_setting(pattern):
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    found = re.search(pattern + r' "([^"]+)"', done.stdout)
    return found.group(1) if found else None


def apt_mirror(archive):
    """Where apt itself gets this archive from ("debian", "debian-security")."""
    texts = []
    for folder, _, names in os.walk("/etc/apt"):
        for name in names:
            if name == "sources.list" or name.endswith((".list", ".sources")):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                    texts += [line for line in file if not line.lstrip().startswith("#")]
    found = re.search(rf"https?://[^\s\]]+/{archive}(?=/?\s)", " ".join(texts) + " ")
    return found.group(0) if found else f"{DEFAULT_MIRROR}/{archive}"


class Archive:
    """Downloads from Debian's archive, with apt's proxy."""

    def __init__(self):
        proxies = {}
        for scheme in ("http", "https"):
            proxy = apt_setting(rf"Acquire::{scheme}::[Pp]roxy")
            if proxy and proxy != "DIRECT":
                proxies[scheme] = proxy
        handlers = [urllib.request.ProxyHandler(proxies)] if proxies else []
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, url):
        error = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(2 ** attempt)
            try:
                with self._opener.open(url, timeout=60) as answer:
                    return answer.read()
            except urllib.error.HTTPError as refused:
                if refused.code == 404:
                    raise Unavailable(f"{url} does not exist") from refused
                error = refused
            except OSError as broken:
                error = broken
        raise Unavailable(f"{url} cannot be had: {error}")

    def checked(self, url, sha256, what):
        """Once more where the mirror was just being updated."""
        for attempt in range(2):
            data = self.get(url)
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
            time.sleep(2 * (1 - attempt))
        raise Untrusted(f"{url} has another checksum than {what} says")

    def release(self, archive, suite):
        """Paths and checksums of a suite, from its signed InRelease."""
        text = self.get(f"{apt_mirror(archive)}/dists/{suite}/InRelease")
        verify_signature(text, f"{archive} {suite}")
        part = text.decode("utf-8", "replace").split("\nSHA256:\n", 1)
        rows = re.findall(r"^ ([0-9a-f]{64}) +\d+ (\S+)$", part[-1], re.M)
        return {path: sha256 for sha256, path in rows}


def verify_signature(text, what):
    if not shutil.which("gpgv") or not os.path.exists(KEYRING):
        raise Unavailable("gpgv or Debian's archive keyring is not installed")
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        done = subprocess.run(["gpgv", "--keyring", KEYRING, "--status-fd", "1", file.name],
                              capture_output=True, text=True, check=False)
    # Several keys sign; the keyring here may be too old to know all of them.
    if "[GNUPG:] VALIDSIG" not in done.stdout or "[GNUPG:] BADSIG" in done.stdout:
        raise Untrusted(f"the signature of {what} is not good:\n{done.stderr.strip()}")


def version_key(version):
    """Sorts Debian versions of kernels: numbers as numbers, ~ before everything."""
    return [(-1, 0) if part == "~" else (1, int(part)) if part.isdigit() else (0, 0)
            for part in re.findall(r"\d+|~", version)]


def newest_packages(packages, series):
    """The newest cloud kernels of a series in a Packages file, best first: [version, path,
    sha256] of each."""
    name = re.compile(rf"linux-(?:image|binary)-{re.escape(series)}[.~+-]\S*-cloud-amd64"
                      r"(?:-unsigned)?\Z")
    found = []
    for block in packages.split("\n\n"):
        if not block.startswith("Package: linux-"):
            continue
        fields = dict(re.findall(r"^(Package|Version|Filename|Size|SHA256): (\S+)$", block, re.M))
        if len(fields) == 5 and name.match(fields["Package"]) and \
                int(fields["Size"]) >= PACKAGE_BYTES_MIN:
            found.append(fields)
    found.sort(key=lambda fields: (version_key(fields["Version"]),
                                   not fields["Package"].endswith("-unsigned")), reverse=True)
    return [[fields["Version"], fields["Filename"], fields["SHA256"]]
            for fields in found[:CANDIDATES]]


def unpack_image(package, to):
    """The kernel image of a .deb, written to the file `to`."""
    with tempfile.TemporaryDirectory(prefix="libebpf-vm-") as folder:
        deb = os.path.join(folder, "kernel.deb")
        with open(deb, "wb") as file:
            file.write(package)
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
            subprocess.run(["tar", "-x", "-C", folder, "--wildcards", "*/vmlinuz*"],
                           stdin=tar.stdout, check=False, stderr=subprocess.DEVNULL)
        images = [os.path.join(path, name) for path, _, names in os.walk(folder)
                  for name in names if name.startswith("vmlinuz")]
        if len(images) != 1:
            raise Unavailable(f"the package holds {len(images)} kernel images, not one")
        shutil.copyfile(images[0], to + ".new")
        os.replace(to + ".new", to)


def look_up(archive, area, suite, series, cache):
    """As newest_packages(). Packages is only read where it changed since the last time."""
    path = "main/binary-amd64/Packages.xz"
    sha256 = archive.release(area, suite).get(path)
    if not sha256:
        raise Unavailable(f"{suite} has no {path}")
    known = os.path.join(cache, f"newest-{series}-{suite}.json")
    if os.path.exists(known):
        with open(known, encoding="utf-8") as file:
            remembered = json.load(file)
        if remembered.get("packages") == sha256:
            return remembered["newest"]
    packed = archive.checked(f"{apt_mirror(area)}/dists/{suite}/{path}", sha256, "InRelease")
    newest = newest_packages(lzma.decompress(packed).decode("utf-8", "replace"), series)
    with open(known + ".new", "w", encoding="utf-8") as file:
        json.dump({"packages": sha256, "newest": newest}, file)
    os.replace(known + ".new", known)
    return newest


def image_of(archive, area, package, series, cache):
    version, path, sha256 = package
    image = os.path.join(cache, f"vmlinuz-{series}-{version}")
    if not os.path.exists(image):
        unpack_image(archive.checked(f"{apt_mirror(area)}/{path}", sha256, "Packages"), image)
    return image


def kernel_image(series, cache):
    """The path of the newest image of the series. A cached one serves where nothing newer
    can be had; Unavailable, where there is none either."""
    os.makedirs(cache, exist_ok=True)
    archive, reasons = Archive(), []
    for area, suite in SERIES[series]:
        try:
            packages = look_up(archive, area, suite, series, cache)
            if not packages:
                raise Unavailable(f"{suite} has no cloud kernel {series}")
        except Unavailable as reason:
            reasons.append(str(reason))
            continue
        for package in packages:
            try:
                return image_of(archive, area, package, series, cache)
            except Unavailable as reason:
                reasons.append(str(reason))
    cached = sorted((name for name in os.listdir(cache)
                     if name.startswith(f"vmlinuz-{series}-") and not name.endswith(".new")),
                    key=version_key)
    if cached:
        return os.path.join(cache, cached[-1])
    raise Unavailable("; ".join(reasons))
