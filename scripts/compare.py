"""Compares the server with every other server that is installed, on what they all can do.

The measuring is that of `myriapod-load compare` with the plan compare.toml: interleaved blocks in random order, newly
started processes, and a control that must hold within 2 %. This script builds, leaves out who is not installed, makes
the files that are served, and turns the figures into tables and the plots of docs/. A whole run takes some 12 minutes.
Figures mean something on a quiet machine only; the control tells whether it was quiet enough.

Not here: what parsing costs over a bare epoll loop (bench.sh), and how memory grows (idle.sh, million.sh).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess

import measure
from measure import Failure, say

PLAN = measure.ROOT / "scripts" / "compare.toml"
DOCS = measure.ROOT / "docs"
PLOTS = {"ratio-cpu": "compare-cpu", "ratio-rate": "compare-rate", "ratio-memory": "compare-memory"}
OURS = "myriapod"
# Each with what tells its version, and the Debian package that has it.
PEERS = {
    "nginx": (["nginx", "-v"], "nginx-light"),
    "haproxy": (["haproxy", "-v"], "haproxy"),
    "h2o": (["h2o", "-v"], "h2o"),
    "lighttpd": (["lighttpd", "-v"], "lighttpd"),
    "caddy": (["caddy", "version"], "caddy"),
}
INVALID = 1
UNKNOWN = "–"


# --- running it --------------------------------------------------------------------------------------------------


def chosen(options):
    """Names of the servers that take part; says who does not, and why."""
    here = [name for name in PEERS if shutil.which(name, path=measure.SEARCH_PATH)]
    wanted = options.only.split(",") if options.only else list(PEERS)
    if unknown := [name for name in wanted if name not in (OURS, *PEERS)]:
        raise Failure(f"no server {', '.join(unknown)}; there are {', '.join(PEERS)}")
    for name in wanted:
        if name in PEERS and name not in here:
            say(f"{name} is not installed and left out; apt-get install {PEERS[name][1]}")
    return [OURS] + [name for name in PEERS if name in here and name in wanted]


def make_files(directory):
    """What is served: both folders have the files, and `all` a plain text too."""
    for folder in ("files", "all"):
        (directory / folder).mkdir(mode=0o755)
    for name, size in (("10k.bin", 10 << 10), ("1m.bin", 1 << 20)):
        (directory / "files" / name).write_bytes(os.urandom(size))
        os.link(directory / "files" / name, directory / "all" / name)
    (directory / "all" / "plaintext").write_text("Hello, World!")


def compared(names, directory, options):
    """The report of one comparison, as `--json` has it; it says itself whether it is valid."""
    report = measure.OUT / "compare.json"
    measure.OUT.mkdir(exist_ok=True)
    command = [str(measure.release("myriapod-load")), "compare", "--plan", str(PLAN), "--only", ",".join(names)]
    command += ["--json", str(report), "--html", str(report.with_suffix(".html")), "--svg", str(directory / "svg")]
    command += ["--server-cpus", str(options.server_cpu), "--load-cpus", str(options.client_cpu), *extra(options)]
    binaries = measure.release(OURS).parent.resolve()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MYRIAPOD_")}
    environment |= {"COMPARE_BIN": str(binaries), "COMPARE_FILES": str(directory), "PATH": measure.SEARCH_PATH}
    result = subprocess.run(command, cwd=measure.ROOT, env=environment, stdout=subprocess.DEVNULL)
    if result.returncode not in (0, INVALID):
        raise Failure("the comparison could not be run to its end")
    return json.loads(report.read_text())


def extra(options):
    """Flags handed on: they go before the plan's settings."""
    quick = ["--blocks", "6", "--blocks-max", "6", "--block-time", "200ms", "--warm-up", "50ms"]
    words = list(quick if options.quick else [])
    for flag in ("blocks", "blocks_max", "block_time", "seed"):
        if (value := getattr(options, flag)) is not None:
            words += [f"--{flag.replace('_', '-')}", str(value)]
    return words


def version(name):
    if name == OURS:
        return measure.commit()
    result = subprocess.run(
        PEERS[name][0], capture_output=True, text=True, env=os.environ | {"PATH": measure.SEARCH_PATH}
    )
    found = re.search(r"\d+(\.\d+)+", result.stdout + result.stderr)
    return found[0] if found else "of unknown version"


# --- the report --------------------------------------------------------------------------------------------------


def result_of(case, name):
    return next((one for one in case["results"] if one["server"] == name), None)


def weighs(case):
    return case["results"][0]["memory"] is not None


def ratio_of(result):
    """What is compared first: CPU time of a request, or memory of a connection; less is better."""
    return result["memory"]["ratio"] if result["memory"] else result["cpu_ratio"]


def cost_cell(case, name):
    """`6.01 µs`, and for the others how many times that is."""
    result = result_of(case, name)
    if result is None:
        return UNKNOWN
    cost = bytes_text(result["memory"]["server_bytes"]) if weighs(case) else us_text(result["cpu_us_per_request"])
    ratio = ratio_of(result)
    if name == OURS or ratio is None:
        return cost
    digits = 2 if ratio["middle"] < 10 else 0
    return f"{cost} · {ratio['middle']:.{digits}f} ({ratio['low']:.{digits}f}..{ratio['high']:.{digits}f})"


def us_text(us):
    return UNKNOWN if us is None else f"{us:.{0 if us >= 100 else 1 if us >= 10 else 2}f} µs"


def bytes_text(count):
    return f"{count:.0f} B" if count < 1000 else f"{count / 1024:.1f} KiB"


def rate_cell(case, name):
    """Requests per second, how busy the server was meanwhile, and the 99th percentile of latency."""
    result = result_of(case, name)
    if result is None or result["rate"] is None:
        return UNKNOWN
    busy = (result["cpu_us_per_request"] or 0) * result["rate"] / 1e6
    return f"{grouped(result['rate'])}/s ({busy:.0%}), {result['p99_ns'] / 1e6:.2f} ms"


def grouped(number):
    return f"{number:,.0f}".replace(",", " ")


def table(report, names, cell, cases):
    def title(case):
        return case["name"] + ("" if case["holds"] else " (control does not hold)")

    header = ["server, one thread", *(title(case) for case in cases)]
    return measure.table(header, ([name, *(cell(case, name) for case in cases)] for name in names))


def doubt_below(case):
    """A ratio is one beyond doubt below this; where the control does not hold, below all that the control was."""
    if case["holds"]:
        return 1
    control = ratio_of(next(result for result in case["results"] if result["server"] == f"{OURS} again"))
    return min(1, control["low"]) if control else 0


def losses(cases, names):
    """Where somebody else takes less, beyond doubt: a sentence each."""
    for case in cases:
        better = []
        for name in names[1:]:
            result = result_of(case, name)
            ratio = ratio_of(result) if result else None
            if ratio and ratio["high"] < doubt_below(case):
                better.append(f"{name} takes {ratio['middle']:.2f} of it")
        if better:
            yield f"{case['name']}: {', '.join(better)}"


def verdict(cases, names):
    doubtful = "" if all(case["holds"] for case in cases) else (
        " Where the control does not hold, only what lies beyond all that the control was counts."
    )
    if lost := list(losses(cases, names)):
        return f"Where {OURS} loses: {'; '.join(lost)}.{doubtful}"
    return f"Nobody takes less than {OURS} in any case.{doubtful}"


def text(report, names, options):
    comparison = report["comparison"]
    cases = comparison["cases"]
    again = f"{OURS} again"
    least, most = (pick(case["blocks"] for case in cases) for pick in (min, max))
    blocks = str(least) if least == most else f"{least} to {most}"
    parts = [
        measure.heading("compare"),
        f"Servers on CPU {options.server_cpu}, the load on CPU {options.client_cpu}; "
        f"{blocks} blocks in random order (seed {comparison['seed']}), "
        "each server newly started for each measurement. Medians; after the dot how many times "
        f"{OURS}'s that is, with its 95 % confidence interval. "
        + ", ".join(f"{name} {version(name)}" for name in names[1:]) + ".",
        "CPU time of the server for a request, and memory of the server for an idle connection (less is better):",
        table(report, [*names, again], cost_cell, cases),
        verdict(cases, names),
        "Requests per second (how much of its CPU the server used), 99th percentile of latency at that load:",
        table(report, names, rate_cell, [case for case in cases if not weighs(case)]),
    ]
    if report["invalid"]:
        parts.append("**Not valid:**\n" + "\n".join(f"- {why}" for why in report["invalid"]))
    return "\n\n".join(parts)


def keep_plots(directory):
    DOCS.mkdir(exist_ok=True)
    for drawn, kept in PLOTS.items():
        if (plot := directory / "svg" / f"{drawn}.svg").exists():
            shutil.copyfile(plot, DOCS / f"{kept}.svg")


# --- from flags to report ----------------------------------------------------------------------------------------


def flags():
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="compare.sh", description=__doc__, formatter_class=plain)
    add = parser.add_argument
    add("--quick", action="store_true", help="six blocks of 0.2 s: a look of two minutes, not a measurement")
    add("--only", help="comma-separated servers, beside ours (default: all that are installed)")
    add("--blocks", type=int, help="times everything is repeated (default: see compare.toml)")
    add("--blocks-max", type=int, help="times at most, where the control does not hold yet")
    add("--block-time", help="time of one server in one block, as 700ms")
    add("--seed", type=int, help="of the random order (printed in the report)")
    add("--server-cpu", type=int, default=0, help="default 0")
    add("--client-cpu", type=int, default=1, help="default 1")
    add("--no-build", action="store_true", help="measure what is built already")
    add("--write-readme", action="store_true", help="tables between the compare markers of README.md, plots into docs/")
    return parser.parse_args()


def build():
    command = ["cargo", "build", "--release", "--quiet", "-p", "myriapod", "-p", "myriapod-load"]
    subprocess.run(command, cwd=measure.ROOT, check=True)


def main():
    options = flags()
    names = chosen(options)
    if not {options.server_cpu, options.client_cpu} <= os.sched_getaffinity(0):
        raise Failure("server and client need a CPU each; see --server-cpu and --client-cpu")
    if not options.no_build:
        build()
    with measure.scratch() as directory:
        make_files(directory)
        (directory / "svg").mkdir()
        report = compared(names, directory, options)
        if options.write_readme:
            keep_plots(directory)
    measure.publish("compare", text(report, names, options), options.write_readme)
    if report["invalid"]:
        raise Failure("the figures are not valid; the report says why")


if __name__ == "__main__":
    measure.run(main)
