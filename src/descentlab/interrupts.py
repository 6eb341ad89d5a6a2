"""Ctrl-C in the program: noticed at every moment, answered by one true sentence and exit code 130.

An interrupt that is raised as an exception lands wherever the main thread happens to be: in an import, which then fails
for another reason; in a callback of a library, which swallows it; or nowhere, while a compiled program runs. So it is
not raised here. The interpreter writes a byte to a pipe the moment the signal comes, and a thread that reads the pipe
says what is true and ends the process. This is safe at every moment because no file becomes visible before it is whole.

A program of somebody else that uses the package keeps its own ways: there Ctrl-C is `KeyboardInterrupt`, and
`descentlab.sweep.run` writes its checkpoint before it lets it through.
"""

import os
import signal
import threading

__all__ = ["STOPPED", "finish", "say", "watch"]

STOPPED = 130
"""Exit code of a process that the user stopped: 128 plus the number of the signal."""

_sentence = "stopped before anything was computed"


def say(sentence: str) -> None:
    """Set what will be true from now on if the user stops.

    Args:
        sentence: one line that begins with "stopped".
    """
    from descentlab._check import printable  # not above: what is imported there delays the watch

    global _sentence  # noqa: PLW0603 a process has one answer
    _sentence = printable(sentence)


def watch() -> None:
    """From now on Ctrl-C ends this process; where it is ignored already, as in a background job, it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    threading.Thread(target=_end_when_told, args=(reading,), daemon=True).start()
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, lambda *_: None)


def finish() -> None:
    """Everything has been said and written: an interrupt changes nothing any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


def _end_when_told(reading: int) -> None:
    """Wait for a signal's number in the pipe; signals with handlers of somebody else are theirs."""
    while os.read(reading, 1) != bytes([signal.SIGINT]):
        pass
    # A bar may have hidden the cursor of the terminal and left half a line.
    clean = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""
    os.write(2, f"{clean}{_sentence}\n".encode())
    os._exit(STOPPED)
