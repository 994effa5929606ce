"""The ``neuro`` command."""

import errno
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from experiments.cli_listings import listings
from experiments.conversion.compress_command import compress
from experiments.conversion.convert_command import convert, refusals_told
from experiments.conversion.export_command import export
from experiments.options import AS_IS, USUAL, Codes, DataOptions, Flag, FormOptions, Json, Memory, Names
from neuro.cache import programs
from neuro.errors import BadInput, NeuroError, printable
from neuro.file import check_writable

CACHE_BYTES = 2**30
"""What is kept of XLA's programs; the least used go first."""
CACHE_FROM_SECONDS = "0.05"
"""Programs compiled faster than this are compiled again: keeping one more costs a look at all."""

app = App(
    name="neuro",
    help="Should this trained network run on a spiking chip, and how sure are we?",
    help_format="markdown",
    version=lambda: _version(),  # Cyclopts would look for a package called experiments
    suppress_keyboard_interrupt=False,  # `main` says that nothing was written
)


def _version() -> str:
    try:
        return version("neuro-verdict")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


app.command(compress)
app.command(convert)
app.command(export)


@app.command
def compare(
    network: str,
    *,
    data: DataOptions = AS_IS,
    chips: Names = None,
    devices: Names = None,
    code: Codes = "auto",
    form: FormOptions = USUAL,
    boundary: Literal["chip", "board", "system"] = "chip",
    rate: float | None = None,
    measure: Flag = False,
    allow_violations: Flag = False,
    memory: Memory = None,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Compare a trained network on spiking chips with the same network on conventional machines.

    Parameters
    ----------
    network
        A bundled name (digits-cnn) or a file; docs/importers.md lists the formats.
    chips
        Names or .toml files, separated by commas, or all; default those mapped core by core.
    devices
        Names or .toml files, separated by commas, or all; default the strongest of each kind.
    code
        Spike code; auto prices unary, bits, graded and rate (the others are exact too, and slower to simulate).
    boundary
        What is inside the energy bill.
    rate
        Inferences a second; default back to back, with 10 Hz beside it.
    measure
        Run the network on this machine too, beside a model of its processor.
    allow_violations
        Run where limits of a chip do not hold too, and mark the result.
    seed
        Of the draws from the constants' ranges and of the search for sites.
    out
        The record to write; default runs/NAME-HASH.h5.
    """
    from experiments.job import Request, carry_out
    from experiments.terminal import progress_bars, table

    request = Request(
        network=network, **vars(data), **vars(form), chips=chips, devices=devices, code=code,
        boundary=boundary, rate=rate, measure=measure, seed=seed, allow_violations=allow_violations, memory=memory,
        out=out,
    )  # fmt: skip
    with refusals_told(network, json_), progress_bars() as progress:
        comparison, summary = carry_out(request, progress)
    if json_:
        print(json.dumps(summary))
    else:
        table(comparison, summary)


@app.command(name="map")
def map_(
    network: str,
    *,
    chip: str,
    data: DataOptions = AS_IS,
    code: Codes = "auto",
    form: FormOptions = USUAL,
    regime: Literal["single", "stream"] = "single",
    objective: Literal["auto", "cores", "traffic", "step"] = "auto",
    detailed: Flag = False,
    allow_violations: Flag = False,
    seed: int = 0,
    duration: float | None = None,
    all_: Annotated[bool, Parameter(name="--all")] = False,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Map a network onto a spiking chip: use of every limit and core, traffic, what bounds the run; draws the chip.

    Spikes and traffic are means over the first 16 calibration items, or over as many as --samples says.

    Parameters
    ----------
    network
        A bundled name (digits-cnn) or a file; docs/importers.md lists the formats. Or SCRIPT.py:NAME, a brian2.Network
        that a script leaves under a name.
    chip
        A bundled chip (neuro chips lists them) or a .toml file.
    code
        Spike code; auto takes the first of bits, unary, ttfs, rate that the chip can run.
    regime
        Map for one sample at a time, or for a pipeline of samples.
    objective
        Cut the layers into the fewest cores, for the lowest traffic or for the shortest step; auto spreads them over
        as many as give the least energy x delay of a sample or, in a pipeline, the least energy.
    detailed
        Play the steps of one sample packet by packet too, with queues, full links and busy receivers.
    allow_violations
        Map where limits do not hold too, and name them.
    seed
        Of the search for sites.
    duration
        Seconds that a script's network runs; default 0.1.
    all_
        Print every core.
    out
        The figure to draw (.png); default runs/map-NETWORK-CHIP.png.
    """
    from experiments.job import Request
    from experiments.maps.chip_figure import draw
    from experiments.maps.chip_map import chip_map, figure_path, summary
    from experiments.maps.chip_table import print_map
    from experiments.maps.script_map import DURATION, script_of, script_on_chip
    from experiments.terminal import progress_bars

    request = Request(
        network=network, **vars(data), **vars(form), code=code, seed=seed, allow_violations=allow_violations,
    )  # fmt: skip
    if seed < 0:
        raise BadInput(f"--seed {seed} is negative; give 0 or more.")
    path = figure_path(out, network, chip)
    script, aim = script_of(network), None if objective == "auto" else objective
    with refusals_told(network, json_), progress_bars() as progress:
        if script is not None:
            _alone(data == AS_IS, code == "auto", form == USUAL, regime == "single", not detailed, not allow_violations)
            seconds = DURATION if duration is None else duration
            found = script_on_chip(*script, chip, seconds, seed, progress, aim)
        elif duration is not None:
            raise BadInput("--duration is for SCRIPT.py:NAME; another network takes --steps.")
        else:
            found = chip_map(request, chip, regime, detailed, progress, aim)
    drawn = draw(found, f"{found.placement.name} on {found.placement.chip.title}, {found.code} code (modelled)", path)
    described = summary(found, drawn)
    if json_:
        print(json.dumps(described))
    else:
        print_map(described, all_)


def _alone(*untouched: bool) -> None:
    if not all(untouched):
        raise BadInput(
            "a script's network brings its own input and form; --chip, --duration, --objective, --seed, --all, "
            "--out and --json are what can be said of it."
        )


@app.command
def report(record: Path, *, out: Path | None = None) -> None:
    """Redraw tables and figures of a record as one self-contained HTML file.

    Parameters
    ----------
    record
        What `neuro compare` wrote (.h5).
    out
        Default: the record's name with the ending .html.
    """
    from experiments.report import report as draw

    print(f"report: {draw(record, out or record.with_suffix('.html'))}")


@app.command
def validate(
    *,
    kind: Literal["all", "gpu", "tpu", "fpga", "asic", "cpu", "mcu", "neuromorphic"] = "all",
    cases: Path | None = None,
    all_: Annotated[bool, Parameter(name="--all")] = False,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Hold the models against published measurements, or against your own.

    Parameters
    ----------
    kind
        Machines whose published measurements are replayed.
    cases
        A CSV file with measurements of your own instead; docs/measurements.md describes its columns.
    all_
        Print long sets in full.
    out
        The record to write, with a figure beside it; default runs/validation-WHAT.h5.
    """
    from experiments.terminal import progress_bars
    from experiments.validate import carry_out
    from experiments.validation_output import print_validation

    with progress_bars() as progress:
        validation, summary = carry_out(kind, cases, out, progress)
    if json_:
        print(json.dumps(summary))
    else:
        print_validation(validation, all_)
        print(f"\nrecord: {summary['record']}\nfigure: {summary['figure']}")


@app.command
def price(
    network: str,
    *,
    devices: Names = None,
    precision: str | None = None,
    batch: Annotated[str, Parameter(help="A number, or best: the batch of least energy.")] = "1",
    mode: Literal["compiled", "eager"] = "compiled",
    boundary: Literal["chip", "board", "system"] = "chip",
    json_: Json = False,
) -> None:
    """Price any network on conventional machines, without converting it to spikes.

    Parameters
    ----------
    network
        An .onnx file, a name such as resnet50 or bert_large:sequence=177, gemm:MxNxK, or a .toml file of shapes.
    devices
        Names or .toml files, separated by commas; default all.
    precision
        Such as int8 or fp16; the next wider one where a machine lacks it; default the narrowest floating point.
    mode
        As a graph compiler runs it, or kernel by kernel as a framework does.
    boundary
        What is inside the energy bill.
    """
    from experiments.pricing import prices, print_prices

    rows = prices(network, devices, precision, batch, mode, boundary)
    if json_:
        print(json.dumps(rows))
    else:
        print_prices(rows)


@app.command
def measure(
    network: str,
    *,
    seconds: float = 10.0,
    platform: Literal["cpu", "gpu", "all"] = "all",
    data: str | None = None,
    seed: int = 0,
    predict: bool = True,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Run a network on this machine: latency sample by sample, throughput, and energy where a counter can be read.

    Parameters
    ----------
    network
        A bundled name (digits-cnn) or a file; docs/importers.md lists the formats.
    seconds
        Time for each runtime.
    platform
        Where to run: on the CPU, on a GPU that JAX finds, or both.
    data
        Samples to run, as for compare; default random ones.
    seed
        Of the random samples.
    predict
        Probe the CPU as well and print what its model predicts.
    out
        A JSON file to write as well.
    """
    from experiments.job import Request
    from experiments.measured import carry_out
    from experiments.measured_output import print_result, store, summary
    from experiments.prepared import prepared
    from experiments.terminal import progress_bars

    if out is not None:
        check_writable(out)
    inputs = None if data is None else prepared(Request(network, data=data)).dataset.network_input
    with progress_bars() as progress:
        result = carry_out(network, seconds, platform, inputs, seed, predict, progress)
    if out is not None:
        store(result, out)
    if json_:
        print(json.dumps(summary(result)))
    else:
        print_result(result)


for _command in listings:
    app.command(_command)


def main() -> None:
    """Entry point: exit code 0 whoever wins, 2 for bad input, 3 for a network that cannot be represented."""
    _keep_programs()
    try:
        _check_text(sys.argv[1:])
        app(sys.argv[1:], exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has enough; nothing more must be written when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except CycloptsError as error:
        sys.exit(_complain(str(error), 2))
    except NeuroError as error:
        sys.exit(_complain(str(error), error.exit_code))
    except OSError as error:
        if error.errno == errno.ENOSPC:  # what is still in the buffer must not be tried again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_complain(f"the output cannot be written: {error.strerror}.", 2))
        if error.errno != errno.ENAMETOOLONG:
            raise
        sys.exit(_complain(f"{printable(error.filename, 40)}: a name longer than a file may have.", 2))
    except KeyboardInterrupt:
        sys.exit(_complain("interrupted; no record was written", 130))


def _keep_programs() -> None:
    """What XLA compiles is kept for the next command, unless JAX was told otherwise: half of a comparison's time."""
    folder = None if "JAX_COMPILATION_CACHE_DIR" in os.environ else programs()
    if folder is not None:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(CACHE_BYTES))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", CACHE_FROM_SECONDS)


def _check_text(words: list[str]) -> None:
    """Records hold what was typed. Raises BadInput: an argument that is no text, as a file name of other bytes is."""
    for word in words:
        if any("\ud800" <= c <= "\udfff" for c in word):
            raise BadInput(f"{printable(word)}: the name is not UTF-8; rename the file.")


def _complain(message: str, code: int) -> int:
    print(f"neuro: {message}", file=sys.stderr)
    return code
