"""Slicer's launcher PythonSlicer as far as a child's life goes.

The real Python is a QProcess of its own: what that one writes and its exit code are handed on, while signals are not,
and its standard input is a pipe of the launcher's.
"""

import signal
import sys

from PySide6.QtCore import QCoreApplication, QProcess


def main():
    app = QCoreApplication(sys.argv)
    process = QProcess()
    process.setProcessChannelMode(QProcess.ForwardedChannels)

    def on_end(code, status):
        if status == QProcess.CrashExit:
            sys.stderr.write(f"error: [{sys.executable}] exit abnormally - Report the problem.\n")
        app.exit(code if status == QProcess.NormalExit else 1)

    process.finished.connect(on_end)
    process.start(sys.executable, sys.argv[1:])
    # The system's own way with signals, not Python's: the launcher ends at once and looks after nothing.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
