#!/usr/bin/env python3
"""Tables and a plot of what tools/bench/compare measured.

usage: compare_report.py COMPARE.json [--readme FILE] [--summary FILE] [--plot FILE.svg]

Prints the tables; --readme puts them between the marks of a README, --summary the short one between
those of another. The plot needs matplotlib.
"""

import argparse
import json
import math
import pathlib

import marks
import workloads

# Columns: title, and the peers of which the faster one counts.
COLUMNS = {
    "PyTorch": ["torch", "torch+jemalloc"],
    "torch.compile": ["torch.compile", "torch.compile+jemalloc"],
    "JAX": ["jax"],
    "MLX": ["mlx"],
    "Dr.Jit": ["drjit"],
    "Eigen": ["eigen"],
    "NumPy": ["numpy"],
    "tinygrad": ["tinygrad"],
}
# Cases of cpu/claims.cpp: what they say, in what unit, and what they should be at most.
CLAIMS = {
    "record_an_operation": ("recording an operation, ns", 1e9, 200),
    "launch_five_operations": ("recording and launching five operations on 1024 numbers, us", 1e6, 1),
    "compile_ten_operations": ("a kernel of ten operations that is new, ms", 1e3, 3),
    "function_in_cache/abs": ("a product and a maximum of numbers in the first cache, ns each", 1e9, None),
    "function_in_cache/exp": ("the same with exp, ns each", 1e9, 0.2),
    "function_in_cache/log": ("with log", 1e9, 0.3),
    "function_in_cache/tanh": ("with tanh", 1e9, 0.4),
    "function_in_cache/erf": ("with erf", 1e9, 0.5),
    "function_in_cache/sin": ("with sin", 1e9, 0.3),
    "function_in_cache/sqrt": ("with sqrt", 1e9, None),
    "function_in_cache/gelu": ("with GELU (erf)", 1e9, None),
    "error_of_sum": ("relative error of the sum of 2^24 numbers in [0, 1), in units of 1e-9", 1e9, 100),
    "error_of_variance": ("of the variance of 2^20 numbers around 10000, 1e-9", 1e9, None),
    "error_of_softmax": ("of softmax of 1024 numbers in [-10, 10), at most, 1e-9", 1e9, None),
    "error_of_product": ("of a matrix product of 4096 numbers in [0, 1), at most, 1e-9", 1e9, None),
}
OURS, HAND = "cermet", "hand"


def number(value):
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def figure(found, peers):
    """(milliseconds, which of the peers) of the fastest, or (None, None)."""
    times = [(found[p]["seconds"] * 1e3, p) for p in peers if "seconds" in found.get(p, {}) and
             not found[p].get("wrong")]
    return min(times, default=(None, None))


def limit(workload, limits):
    """Milliseconds that the workload's bytes and operations take at the least."""
    # What fits there comes from the last cache.
    moving = max(limits[k] for k in ("read", "copy", "add"))
    if workload.bytes <= 16 * workloads.MB:
        moving = max(moving, limits["cache read"], limits["cache copy"])
    return 1e3 * max(workload.bytes / moving, workload.flops / limits["flops"])


def best_peer(found):
    """Milliseconds of the fastest peer; code by hand is none."""
    return figure(found, [p for peers in COLUMNS.values() for p in peers])[0]


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def rows(part):
    """(workload, its results) in order."""
    return [(w, part["results"][w.name]) for w in workloads.WORKLOADS if w.name in part["results"]]


def columns(data):
    """Titles of peers that have figures."""
    return [title for title, peers in COLUMNS.items()
            if any(figure(found, peers)[0] for part in data["threads"].values()
                   for found in part["results"].values())]


def times_table(data, threads):
    part = data["threads"][threads]
    titles = columns(data)
    lines = ["| ms | Cermet | " + " | ".join(titles) + " | best peer / Cermet | by hand | Cermet / by hand | limit |",
             "|---|" + "---:|" * (len(titles) + 5)]
    for workload, found in rows(part):
        ours, hand, peer = figure(found, [OURS])[0], figure(found, [HAND])[0], best_peer(found)
        cells = [number(ours) if ours else "-"]
        for title in titles:
            time, which = figure(found, COLUMNS[title])
            text = (number(time) + ("ʲ" if which.endswith("jemalloc") else "")) if time else "-"
            cells.append(f"**{text}**" if time and time == peer else text)
        cells.append(f"{peer / ours:.2f}" if ours and peer else "-")
        cells.append(number(hand) if hand else "-")
        cells.append(f"{ours / hand:.2f}" if ours and hand else "-")
        least = limit(workload, part["limits"])
        cells.append(number(least) if least else "-")
        lines.append(f"| {workload.name.split('_')[0]} {workload.text} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def limits_line(data):
    return "; ".join(
        f"{t} thread{'s' if t != '1' else ''}: " + ", ".join(
            f"{name} {rate / 1e9:.0f} {'GFLOP/s' if name == 'flops' else 'GB/s'}"
            for name, rate in part["limits"].items())
        for t, part in data["threads"].items())


def first_table(data):
    """Milliseconds of the first call in a process, and the memory that it took."""
    titles = ["Cermet", *columns(data)]
    peers = {"Cermet": OURS} | {t: COLUMNS[t][0] for t in titles[1:]}
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(titles)]
    texts = {w.name: w.text for w in workloads.WORKLOADS}
    for name, found in data["first"].items():
        def cells(what, found=found):
            shown = [found.get(peers[t], {}).get(what) for t in titles]
            return " | ".join("-" if x is None else number(x * (1e3 if what != "peak_mb" else 1)) for x in shown)
        text = f"{name} {texts[name]}"
        lines += [f"| {text}: cold, ms | {cells('cold')} |", f"| warm, ms | {cells('warm')} |",
                  f"| peak memory, MB | {cells('peak_mb')} |"]
    return "\n".join(lines)


def memory_table(data):
    """Megabytes of a call's results and temporaries, at most at one time."""
    peers = {"Cermet": OURS, "PyTorch": "torch", "torch.compile": "torch.compile"}
    lines = ["| MB | " + " | ".join(peers) + " | least of PyTorch / Cermet |", "|---|" + "---:|" * (len(peers) + 1)]
    texts = {w.name: w.text for w in workloads.WORKLOADS}
    for name, found in data["memory"].items():
        sizes = [found.get(peer, {}).get("bytes") for peer in peers.values()]
        others = [size for size in sizes[1:] if size]
        ratio = f"{min(others) / sizes[0]:.2f}" if sizes[0] and others else "-"
        cells = ["-" if size is None else number(size / workloads.MB) for size in sizes]
        lines.append(f"| {name.split('_')[0]} {texts[name]} | " + " | ".join([*cells, ratio]) + " |")
    return "\n".join(lines)


def claims_table(data):
    lines = ["| Cermet alone, 1 thread | | goal |", "|---|---:|---:|"]
    for name, (text, scale, goal) in CLAIMS.items():
        if name in data["claims"]:
            lines.append(f"| {text} | {number(data['claims'][name] * scale)} | {goal or ''} |")
    return "\n".join(lines)


def why_not(data):
    """A line for each reason why there is no figure."""
    reasons = {}
    for peer, why in data["missing"].items():
        reasons[f"{peer}: {why}"] = []
    for threads, part in data["threads"].items():
        for workload, found in rows(part):
            for peer, f in found.items():
                if "missing" in f and f["missing"] != "not written":
                    reasons.setdefault(f"{peer}: {f['missing']}", set()).add(workload.name)
                if f.get("wrong"):
                    reasons.setdefault(f"{peer}: another result than all others", set()).add(workload.name)
    return "\n".join(f"* {why}" + (f" ({', '.join(sorted(names))})" if names else "")
                     for why, names in sorted(reasons.items()))


def groups(data, threads, of):
    """{group: geometric mean of of(found)} where that is a number."""
    out = {}
    for workload, found in rows(data["threads"][threads]):
        value = of(found)
        if value:
            out.setdefault(workload.group, []).append(value)
    return {group: geometric_mean(values) for group, values in out.items()}


def versus(peers):
    """How many times as long as Cermet the faster of the peers takes."""
    def ratio(found):
        ours, peer = figure(found, [OURS])[0], figure(found, peers)[0]
        return peer / ours if ours and peer else None
    return ratio


def summary_table(data):
    """How many times as long as Cermet each peer takes, a geometric mean for each group."""
    everybody = [p for peers in COLUMNS.values() for p in peers]
    titles = columns(data)
    chosen = [COLUMNS[t] for t in titles] + [everybody, [HAND]]
    threads = list(data["threads"])
    ratios = [[groups(data, t, versus(peers)) for t in threads] for peers in chosen]

    def cell(values):
        return " / ".join("-" if v is None else number(v) if v >= 10 else f"{v:.2g}" for v in values)

    lines = [f"| {' / '.join(threads)} thread{'s' if len(threads) > 1 else ''} | " +
             " | ".join([*titles, "best of them", "by hand"]) + " |", "|---|" + "---:|" * len(chosen)]
    for name, text in workloads.GROUPS.items():
        if any(name in of_threads for peer in ratios for of_threads in peer):
            lines.append(f"| {name} {text} | " + " | ".join(cell([r.get(name) for r in peer]) for peer in ratios) +
                         " |")
    lines.append("| geometric mean | " + " | ".join(
        cell([geometric_mean(list(r.values())) for r in peer]) for peer in ratios) + " |")
    return "\n".join(lines)


def plot(data, path):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["svg.hashsalt"] = "cermet"
    shown = list(data["threads"])
    figure_, axes = plt.subplots(1, len(shown), figsize=(5.2 * len(shown), 4.6), sharey=True, squeeze=False)
    titles = {t: COLUMNS[t] for t in columns(data)} | {"by hand": [HAND]}
    markers = "osD^vP*Xh"
    for axis, threads in zip(axes[0], shown):
        names = list(dict.fromkeys(w.group for w, _ in rows(data["threads"][threads])))
        for i, (title, peers) in enumerate(titles.items()):
            values = groups(data, threads, versus(peers))
            at = [n for n in names if n in values]
            hand = title == "by hand"
            axis.scatter([values[n] for n in at], [names.index(n) for n in at], label=title,
                         marker="|" if hand else markers[i % len(markers)], s=120 if hand else 26,
                         color="black" if hand else f"C{i}", zorder=3)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_yticks(range(len(names)), [f"{n} {workloads.GROUPS[n]}" for n in names])
        axis.grid(alpha=0.3)
        axis.set_title(f"{threads} thread{'s' if threads != '1' else ''}", fontsize=10)
        axis.set_xlabel("times as long as Cermet; right of the line Cermet is faster")
    axes[0][0].invert_yaxis()
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure_.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=8, frameon=False)
    figure_.tight_layout(rect=(0, 0.05, 1, 1))
    figure_.savefig(path, metadata={"Date": None})


def everything(data):
    heading = f"{data['machine']}, {data['date']}. {data.get('note', '')}".strip()
    parts = [heading, "What the machine can do. " + limits_line(data) + ".",
             "How many times as long as Cermet others take, as geometric means of groups:", summary_table(data)]
    for threads in data["threads"]:
        parts += [f"**{threads} thread{'s' if threads != '1' else ''}**", times_table(data, threads)]
    if data.get("first"):
        parts += ["**First call of a process, and memory**", first_table(data)]
    if data.get("memory"):
        parts += ["**Peak bytes of results and temporaries**", memory_table(data)]
    if data.get("claims"):
        parts.append(claims_table(data))
    parts += ["Where there is no figure:", why_not(data)]
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawTextHelpFormatter, description=__doc__)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--readme", type=pathlib.Path)
    parser.add_argument("--summary", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    arguments = parser.parse_args()
    data = json.loads(arguments.results.read_text())
    print(everything(data))
    if arguments.readme:
        marks.write(arguments.readme, "CPU tables", everything(data))
    if arguments.summary:
        marks.write(arguments.summary, "measured", f"{data['machine']}, {data['date']}. "
                    f"{data.get('note', '')}\n\n" + summary_table(data))
    if arguments.plot:
        plot(data, arguments.plot)


if __name__ == "__main__":
    main()
