"""Transcodes in process, with one library, what it is told on standard input; `peers.py` runs one worker a library.

Takes a line of JSON (source, output, uid, verify), answers with the processor seconds, or what went wrong.
Needs nothing but the library named on the command line, so that a worker may run under another interpreter.
"""

import json
import sys
import time
from typing import Any


def cinemill(source: str, output: str, uid: str, verify: Any) -> None:
    from cinemill import transcode

    transcode(source, output, to=uid, verify=verify, threads=1, overwrite=True)


def pydicom(source: str, output: str, uid: str, verify: Any) -> None:  # noqa: ARG001
    from pydicom import dcmread

    dataset = dcmread(source)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress(generate_instance_uid=False)
    dataset.compress(uid, generate_instance_uid=False)
    dataset.save_as(output)


def pydcm(source: str, output: str, uid: str, verify: Any) -> None:  # noqa: ARG001
    from pydcm import dcmread

    dataset = dcmread(source)
    dataset.compress(uid, generate_instance_uid=False)
    dataset.save_as(output)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    transcode = {"cinemill": cinemill, "pydicom": pydicom, "pydcm": pydcm}[sys.argv[1]]
    for line in sys.stdin:
        started = time.process_time()
        try:
            transcode(**json.loads(line))
            answer: dict[str, float | str] = {"seconds": time.process_time() - started}
        except Exception as error:  # noqa: BLE001  # whatever a peer raises is its result
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
