# SPDX-License-Identifier: Apache-2.0
"""A terminal for programs that draw on one: a pty with an emulator (pyte) behind it, which is a
Linux console."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

from lib import Skip, check, die_with_parent

# Where Debian's packages are, for a Python that is not Debian's.
sys.path.append("/usr/lib/python3/dist-packages")
try:
    import pyte
except ImportError:
    pyte = None


class Terminal:
    """Runs a command on a terminal of its own."""

    def __init__(self, command, columns=80, lines=24, environment=None):
        if pyte is None:
            raise Skip("python3-pyte is not installed")
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.code = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            die_with_parent()
            size = struct.pack("HHHH", lines, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execve(command[0], command, {**os.environ, "TERM": "linux", **(environment or {})})

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def resize(self, columns, lines):
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def take_in(self, seconds=0.05):
        """Takes in what is there; False once the program has ended."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            fresh = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        self.raw += fresh
        self.stream.feed(fresh)
        return bool(fresh)

    def wait_for(self, condition, what, seconds=20):
        """Until the screen is as wanted; gives its text."""
        deadline = time.monotonic() + seconds
        while not condition(self.text()):
            alive = self.take_in()
            check(alive and time.monotonic() < deadline,
                  f"not on the screen within {seconds} s: {what}\n{self.text()}")
        return self.text()

    def wait(self, seconds=10):
        """The exit code, once the program has ended."""
        deadline = time.monotonic() + seconds
        while self.code is None:
            self.take_in()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            check(time.monotonic() < deadline, f"the program does not end within {seconds} s")
        return self.code

    def close(self):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
