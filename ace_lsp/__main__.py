"""`ace-lsp`, or `python -m ace_lsp`: the language server's command line.

Ends with 0 after `shutdown` and `exit`, with 1 when the client went otherwise, with 2 for bad arguments.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from ace_lsp import logs

PORTS = range(65536)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server; doesn't return, so that nothing that still runs can keep the process."""
    options = _parser().parse_args(arguments)
    try:
        logs.configure(options.log_level, options.log_file)
    except OSError as error:
        _parser().error(f"--log-file {options.log_file}: {error.strerror}")
    try:
        code = asyncio.run(_served(options))
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        _say(f"can't connect: {error}")
        code = 1
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def _served(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    from ace_lsp import serving

    if options.pipe is not None:
        return serving.serve_pipe(options.pipe, options.client_process_id)
    if options.socket is not None:
        host, port = options.socket
        return serving.serve_socket(host, port, options.client_process_id)
    if options.tcp is not None:
        host, port = options.tcp
        return serving.serve_tcp(host, port, _say)
    return serving.serve_stdio(serving.own_stdout(), options.client_process_id)


def _say(line: str) -> None:
    sys.stderr.write(f"ace-lsp: {line}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ace-lsp", description="Likely bugs in Python code, as a language server."
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--stdio", action="store_true", help="speak on stdin and stdout (the default)")
    way.add_argument("--pipe", metavar="PATH", help="connect to a pipe that the client made")
    way.add_argument("--socket", metavar="PORT", type=_address, help="connect to a port of the client's")
    way.add_argument(
        "--tcp", metavar="[HOST:]PORT", type=_address, help="listen for one client, for debugging"
    )
    parser.add_argument("--log-file", metavar="FILE", type=Path, help="log there and not to stderr")
    parser.add_argument("--log-level", choices=logs.LEVELS, default="warning", help="default: warning")
    parser.add_argument("--version", action=_Version, help="say the version and end")
    parser.add_argument(
        "--clientProcessId",
        metavar="PID",
        dest="client_process_id",
        type=int,
        help="end with this process; editors set it",
    )
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) not in PORTS:
        raise argparse.ArgumentTypeError(f"expected a port, or host:port, got {text!r}")
    return host or "127.0.0.1", int(port)


class _Version(argparse.Action):
    """Looked up when it is asked for, and not at each start."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ace_lsp.version import installed_version

        sys.stdout.write(f"ace-lsp {installed_version()}\n")
        parser.exit()


if __name__ == "__main__":
    main()
