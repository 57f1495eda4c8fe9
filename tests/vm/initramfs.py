# SPDX-License-Identifier: Apache-2.0
"""Writes an initramfs: a cpio archive in the "newc" form, as the kernel reads it.

Written by hand so that it needs neither root (for the device nodes) nor the cpio program.
Uncompressed, because a small kernel may have no decompressor.
"""

import os
import stat

NEWC_MAGIC = b"070701"
TRAILER = "TRAILER!!!"


class Initramfs:
    def __init__(self):
        self._archive = bytearray()
        self._inode = 1

    def _pad(self):
        self._archive += bytes(-len(self._archive) % 4)

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        name_bytes = name.encode() + b"\0"
        fields = [self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1],
                  len(name_bytes), 0]
        self._inode += 1
        self._archive += NEWC_MAGIC + b"".join(b"%08X" % field for field in fields) + name_bytes
        self._pad()
        self._archive += data
        self._pad()

    def folder(self, name):
        self._entry(name, stat.S_IFDIR | 0o755)

    def device(self, name, major, minor):
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def text(self, name, text):
        self._entry(name, stat.S_IFREG | 0o644, text.encode())

    def program(self, name, path):
        with open(path, "rb") as file:
            self._entry(name, stat.S_IFREG | 0o755, file.read())

    def write(self, path):
        self._entry(TRAILER, 0)
        temporary = path + ".new"
        with open(temporary, "wb") as file:
            file.write(self._archive)
        os.replace(temporary, path)
