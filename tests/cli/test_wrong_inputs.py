"""Wrong inputs: each gets one line that says what was wrong, where, and what to do."""

from pathlib import Path

import pytest

from keisei.cli.main import main

FILES = {
    "broken.toml": b"[ppo\n",
    "gama.toml": b"[ppo]\ngama = 1\n",
    "top.toml": b"gamma = 1\n",
    "scalar.toml": b"ppo = 3\n",
    "bytes.toml": b"\xff\xfe",
    "type.toml": b'[env]\ngames = "many"\n',
}

WRONG = [
    # (a variable of the environment, the arguments, the line)
    (
        "",
        "train --ppo.blocks 3",
        "command line: ppo.blocks: no such setting, did you mean net.blocks? (got '3')",
    ),
    ("", "", "COMMAND: missing; see keisei --help"),
    (
        "",
        "danc",
        (
            "no such command: 'danc', choose from serve, train, watch, warmup, evaluate, "
            "usi, analyse, runs, checkpoints, games, ratings, metrics, perft, moves, mate, bench, "
            "config, doctor, completion"
        ),
    ),
    ("", "serv", "no such command: 'serv', did you mean serve?"),
    ("", "serve --prot 1", "no such argument: --prot, did you mean --port?"),
    ("", "train --gamma 0.9", "no such argument: --gamma, did you mean --ppo.gamma?"),
    (
        "",
        "train --ppo.gama 0.9",
        "command line: ppo.gama: no such setting, did you mean gamma? (got '0.9')",
    ),
    (
        "",
        "train --pppo.gamma 0.9",
        "command line: pppo: no such setting, did you mean ppo? (got {'gamma': '0.9'})",
    ),
    (
        "",
        "train --ppo.gamma 2",
        "command line: ppo.gamma: must be less than or equal to 1 (got '2')",
    ),
    ("", "train --ppo.gamma high", "command line: ppo.gamma: must be a number (got 'high')"),
    ("", "train --ppo.gamma", "--ppo.gamma: a value is missing"),
    ("", "train --ppo 0.9", "no such argument: --ppo, did you mean --ppo.KEY?"),
    ("", "train --config", "--config: a value is missing; see keisei train --help"),
    (
        "",
        "train --config nope.toml",
        (
            "nope.toml: no such file or folder, and no shipped configuration (base, h100, "
            "quickstart) is named 'nope.toml'"
        ),
    ),
    (
        "",
        "train --config quikstart",
        (
            "quikstart: no such file or folder, and no shipped configuration (base, h100, "
            "quickstart) is named 'quikstart', did you mean quickstart?"
        ),
    ),
    ("", "train --config empty", "empty: must be a TOML file, not a folder"),
    (
        "",
        "train --config broken.toml",
        "broken.toml: Expected ']' at the end of a table declaration (at line 1, column 5)",
    ),
    (
        "",
        "train --config gama.toml",
        "gama.toml: ppo.gama: no such setting, did you mean gamma? (got 1)",
    ),
    (
        "",
        "train --config top.toml",
        "top.toml: gamma: no such setting, did you mean ppo.gamma? (got 1)",
    ),
    (
        "",
        "train --config scalar.toml",
        "scalar.toml: ppo: is a section: set one of its keys (got 3)",
    ),
    (
        "",
        "train --config bytes.toml",
        "bytes.toml: must be a TOML file in UTF-8; byte 1 is not UTF-8",
    ),
    ("", "train --config type.toml", "type.toml: env.games: must be a whole number (got 'many')"),
    (
        "KEISEI_PPO_GAMMA=0.9",
        "train",
        "environment: KEISEI_PPO_GAMMA: no such setting, did you mean KEISEI_PPO__GAMMA?",
    ),
    (
        "KEISEI_PP__GAMMA=0.9",
        "train",
        "environment: KEISEI_PP__GAMMA: no such setting, did you mean KEISEI_PPO__GAMMA?",
    ),
    (
        "KEISEI_GAMMA=0.9",
        "train",
        "environment: KEISEI_GAMMA: no such setting, did you mean KEISEI_PPO__GAMMA?",
    ),
    (
        "KEISEI_DEVISE=cpu",
        "train",
        "environment: KEISEI_DEVISE: no such setting, did you mean KEISEI_DEVICE?",
    ),
    (
        "KEISEI_PPO__GAMMA=2",
        "train",
        "environment KEISEI_PPO__GAMMA: ppo.gamma: must be less than or equal to 1 (got '2')",
    ),
    (
        "KEISEI_PPO=3",
        "train",
        "environment KEISEI_PPO: ppo: is a section: set one of its keys (got 3)",
    ),
    (
        "",
        "train --device tpu",
        "command line: device: must be auto, cpu, cuda or cuda:N (got 'tpu')",
    ),
    (
        "",
        "train --env.games 1e9",
        "command line: env.games: must be less than or equal to 65536 (got 1000000000)",
    ),
    (
        "",
        "train --compute.compile perhaps",
        "command line: compute.compile: must be true or false (got 'perhaps')",
    ),
    (
        "",
        "train --net.channels 33",
        "command line: net.channels: must be a multiple of 8 (got 33)",
    ),
    (
        "",
        "train --net.kind rnn",
        "net.kind: 'rnn' is not one of se_resnet, resnet, transformer, mlp",
    ),
    (
        "",
        "train --evaluation.engines {",
        (
            'command line: evaluation.engines: must be a table, as JSON: {"name": '
            "\"usi:PATH?nodes=500\"} (got '{')"
        ),
    ),
    ("", "train --resume --init x", "--init: not allowed with --resume; see keisei train --help"),
    (
        "",
        "train --resume=yes",
        "--resume: must be one of auto (got 'yes'); see keisei train --help",
    ),
    ("", "train --resume --run nosuch", "nosuch: no such file or folder"),
    (
        "",
        "train --init empty",
        "empty is neither a run (it has no checkpoints) nor a checkpoint (it has no manifest.json)",
    ),
    (
        "",
        "serve --port 99999",
        "command line: server.port: must be less than or equal to 65535 (got 99999)",
    ),
    ("", "evaluate", "RUN|CHECKPOINT: missing; see keisei evaluate --help"),
    ("", "evaluate nosuch", "nosuch: no such file or folder"),
    ("", "evaluate nosuch --games 3", "--games: an even number, 2 or more (got 3)"),
    (
        "",
        "evaluate nosuch --games many",
        "--games: must be a whole number (got 'many'); see keisei evaluate --help",
    ),
    (
        "",
        "evaluate nosuch --declaration 26",
        "--declaration: must be one of 27, 24, none (got '26'); see keisei evaluate --help",
    ),
    (
        "",
        "evaluate nosuch --sprt 5",
        "--sprt: two numbers with a comma, for example 0,20 (got '5')",
    ),
    ("", "games", "ACTION: missing; see keisei games --help"),
    ("", "games exprt x", "no such action: 'exprt', did you mean export?"),
    (
        "",
        "games export nosuch --format kif",
        "--out: a folder is missing; the format kif has one file per game",
    ),
    (
        "",
        "games export nosuch",
        "one of --format --json is missing; see keisei games export --help",
    ),
    (
        "",
        "metrics empty --csv --json",
        "--json: not allowed with --csv; see keisei metrics --help",
    ),
    (
        "",
        "moves 9/9",
        (
            "SFEN: 9/9 is not legal here: a USI move looks like 7g7f, 8h2b+ or P*5e "
            "(lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1)"
        ),
    ),
    ("", "perft two", "DEPTH: must be a whole number (got 'two'); see keisei perft --help"),
    ("", "perft 2 --ppo.clip 1", "--ppo.clip: this command takes no settings"),
    ("", "config shwo", "no such action: 'shwo', did you mean show?"),
    ("", "config show --orign", "no such argument: --orign, did you mean --origin?"),
    (
        "",
        "completion tcsh",
        "SHELL: must be one of bash, zsh, fish (got 'tcsh'); see keisei completion --help",
    ),
    ("", "bench lop", "no such bench: 'lop', did you mean loop?"),
    ("", "bench env --steps 0", "--steps: 1 or more (got 0)"),
    ("", "train extra", "no such argument: extra; see keisei train --help"),
]


@pytest.mark.parametrize(("variable", "words", "line"), WRONG)
def test_a_wrong_input_gets_exactly_this_line_and_exit_code_2(
    variable: str, words: str, line: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    if variable:
        monkeypatch.setenv(*variable.split("="))
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"keisei: {line}\n")
    assert sorted(path.name for path in Path().iterdir()) == sorted([*FILES, "empty"]), (
        "a wrong input makes no file"
    )


def test_the_table_has_40_different_lines() -> None:
    assert len({line for _, _, line in WRONG}) >= 40
