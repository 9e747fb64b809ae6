"""The benchmarks still run, and end with the figures that they promise. How good those are is not for a test to say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
FEW = "https://inaturalist-open-data.s3.amazonaws.com/photos/1/original.jpg\nhttps://observation.org/photos/2.jpg\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "figures"),
    [
        ("ingest", ["--quick"], {"ratio_to_sqlite_import", "rss_mb_2m", "rss_mb_20m", "machine", "ratio_of_cpu"}),
        ("fetch", ["--quick", "--no-img2dataset"], {"share_of_ideal", "cpu_ms_per_image"}),
        ("race", ["--quick"], {"share_of_ideal", "best_peer_share"}),
        (
            "scale",
            ["--quick"],
            {"images_per_s_5000", "start_s_5000", "rss_mb_5000", "status_s_5000", "hosts_s_5000", "worst_shape_growth"}
            | {f"{name}_rows_per_s_5000" for name in ("finalize", "check", "export", "placeholders", "init_again")},
        ),
        ("check", ["--quick"], {"ratio_to_sha256sum", "ratio_to_scan_50m", "rss_mb"}),
        ("shapes", ["--quick"], {"worst_shape_growth", "worst_shape", "worst_shape_memory", "shapes_above"}),
        ("cpu", ["--quick"], {"ratio_to_img2dataset", "ratio_to_curl_plus_decode", "cases"}),
        ("makespan", ["--quick"], {"ratio_to_bound", "limit_violations", "best_peer_ratio"}),
        ("soak", ["--quick"], {"rss_mb_ratio", "open_files_ratio", "latency_ms_ratio"}),
        ("publishers", ["--sample", "1"], {"rows", "images", "merged", "specific_share"}),
        ("identity", ["few.txt"], {"identify_us"}),
        ("worker_cpu", ["--images", "50"], {"bench"}),
        ("cluster", ["--quick"], {"turn_cpu_ms", "images_per_s", "duplicates_after_kill"}),
        (
            "sizes",
            ["--quick"],
            {"ledger_bytes_per_image_init", "ledger_bytes_per_image_download", "label_bytes_per_record", "folders_per_image"},
        ),
        ("stores", ["--quick"], {"put_ratio_pack_to_files", "inodes_per_10k_pack"}),
    ],
)
def test_a_benchmark_runs(name: str, arguments: list[str], figures: set[str], tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text(FEW)
    words = [str(few) if word == few.name else word for word in arguments]
    done = subprocess.run([sys.executable, "-m", f"bench.{name}", *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    if name == "ingest" and shutil.which("sqlite3") is None:  # a bare machine: then it says what to install
        assert done.returncode == 1
        assert "needs the sqlite3 program" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["bench"] == name
    assert figures <= set(result)
