"""What a client says about its terminal, applied to the instance's."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Mapping

# RFC 4254, section 8: opcodes of terminal modes and what termios calls them.
CONTROL_CHARACTERS = {
    1: "VINTR", 2: "VQUIT", 3: "VERASE", 4: "VKILL", 5: "VEOF", 6: "VEOL", 7: "VEOL2", 8: "VSTART",
    9: "VSTOP", 10: "VSUSP", 12: "VREPRINT", 13: "VWERASE", 14: "VLNEXT",
}  # fmt: skip
INPUT_FLAGS = {
    30: "IGNPAR", 31: "PARMRK", 32: "INPCK", 33: "ISTRIP", 34: "INLCR", 35: "IGNCR", 36: "ICRNL", 38: "IXON",
    39: "IXANY", 40: "IXOFF", 41: "IMAXBEL", 42: "IUTF8",
}  # fmt: skip
OUTPUT_FLAGS = {70: "OPOST", 72: "ONLCR", 73: "OCRNL", 74: "ONOCR", 75: "ONLRET"}
LOCAL_FLAGS = {
    50: "ISIG", 51: "ICANON", 53: "ECHO", 54: "ECHOE", 55: "ECHOK", 56: "ECHONL", 57: "NOFLSH", 58: "TOSTOP",
    59: "IEXTEN", 60: "ECHOCTL", 61: "ECHOKE",
}  # fmt: skip
NO_CHARACTER = 255  # the client has none for this
IUTF8 = 0x4000  # Linux and macOS agree; Python's termios has no name for it before 3.13


def set_size(fd: int, width: int, height: int, pixwidth: int, pixheight: int) -> None:
    """Set a terminal's size in characters and pixels; the kernel tells its processes by SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, pixwidth, pixheight))


def set_modes(fd: int, modes: Mapping[int, int]) -> None:
    """Give a terminal the client's modes: its erase character, echo, UTF-8 input."""
    attributes = termios.tcgetattr(fd)
    for opcode, value in modes.items():
        index = getattr(termios, CONTROL_CHARACTERS.get(opcode, ""), None)
        if index is not None:
            attributes[6][index] = b"\0" if value == NO_CHARACTER else bytes([value & 255])
        for part, flags in ((0, INPUT_FLAGS), (1, OUTPUT_FLAGS), (3, LOCAL_FLAGS)):
            if opcode in flags:
                bit = IUTF8 if flags[opcode] == "IUTF8" else getattr(termios, flags[opcode], 0)
                attributes[part] = attributes[part] | bit if value else attributes[part] & ~bit
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
