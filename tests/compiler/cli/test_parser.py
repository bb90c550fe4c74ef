"""The command line itself: what it takes, and one line about what it does not."""

import pytest

from bitsmith.cli import main

COMPILE = ["compile", "m.onnx", "--target", "onnxruntime", "-o", "out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command is given. One of compile, check, evaluate, verify, search, report, passes, targets"),
        (["compil"], "there is no command compil. Did you mean compile?"),
        (["compile"], "the following arguments are required: MODEL.onnx, --target, -o/--out"),
        (
            [*COMPILE, "--calibratoin", "x.npz"],
            "bitsmith compile does not take --calibratoin. Did you mean --calibration?",
        ),
        (
            [*COMPILE, "--calibratoin=x.npz"],
            "bitsmith compile does not take --calibratoin. Did you mean --calibration?",
        ),
        (["--versoin"], "bitsmith does not take --versoin. Did you mean --version?"),
        (["passes", "-x"], "bitsmith passes does not take -x."),
        (["passes", "extra"], "unrecognized arguments: extra"),
        ([*COMPILE, "--budget", "flsh=64KiB"], "argument --budget: there is no budget flsh. Did you mean flash?"),
        ([*COMPILE, "--budget", "flash"], "argument --budget: 'flash' is not of the form NAME=LIMIT"),
        ([*COMPILE, "--budget", "ram=big"], "argument --budget: ram must be a positive number of bytes"),
        ([*COMPILE, "--budget", "bops=0"], "argument --budget: bops must be a positive number such as 20M"),
        ([*COMPILE, "--budget", "mean-weight-bits=x"], "mean-weight-bits must be a number of bits such as 3.5"),
        ([*COMPILE, "--max-loss", "much"], "argument --max-loss: must be a number of points from 0 to 100"),
        ([*COMPILE, "--effort", "most"], "argument --effort: 'most' is not one of fast, default, best"),
        ([*COMPILE, "--scales", "dyadic"], "argument --scales: 'dyadic' is not one of free, power-of-two"),
        ([*COMPILE, "--weights", "e4m4"], "argument --weights: 'e4m4' is neither a width in bits nor one of ternary"),
        ([*COMPILE, "--input-range", "x=0"], "argument --input-range: 'x=0' is not of the form NAME=LOW,HIGH"),
        ([*COMPILE, "--input-range", "x=1,0"], "argument --input-range: 'x=1,0' is not of the form NAME=LOW,HIGH"),
        ([*COMPILE, "--input-range", "x=0,inf"], "argument --input-range: 'x=0,inf' is not of the form NAME=LOW,HIGH"),
        ([*COMPILE, "--weights", "mixd"], "argument --weights: 'mixd' is neither a width in bits nor one of ternary"),
        ([*COMPILE, "--weights", "0"], "argument --weights: must be an integer from 2 to 16"),
        (
            [*COMPILE, "--activations", "eight"],
            "argument --activations: 'eight' is neither a width from 2 to 16 nor",
        ),
        ([*COMPILE, "--activations", "mixd"], "nor mixed. Did you mean mixed?"),
        ([*COMPILE, "--activations", "17"], "argument --activations: '17' is not a width from 2 to 16"),
        ([*COMPILE, "--weights", "codebok4"], "e2m1, mixed. Did you mean codebook4?"),
        ([*COMPILE, "--observer", "percentil"], "mse, percentile. Did you mean percentile?"),
        ([*COMPILE, "--effort", "defualt"], "default, best. Did you mean default?"),
        ([*COMPILE, "--granularity", "chanel"], "group=32. Did you mean channel?"),
        ([*COMPILE, "--scales", "power-of-tow"], "power-of-two. Did you mean power-of-two?"),
        (["--completion", "bsh"], "there is no --completion bsh. Did you mean bash?"),
        (
            [*COMPILE, "--granularity", "group=0"],
            "argument --granularity: 'group=0' is not channel, tensor, or group=N",
        ),
        ([*COMPILE, "--granularity", "row"], "argument --granularity: 'row' is not channel, tensor, or group=N"),
        ([*COMPILE, "--observer", "entropy"], "argument --observer: 'entropy' is not one of auto, kl, min-max"),
        ([*COMPILE, "--input-shape", "x=a"], "argument --input-shape: 'x=a' is not of the form NAME=1,3,32,32"),
        ([*COMPILE, "--input-shape", "1,3"], "argument --input-shape: '1,3' is not of the form NAME=1,3,32,32"),
        ([*COMPILE, "--seed", "-1"], "argument --seed: "),
        ([*COMPILE, "--seed", "4294967296"], "argument --seed: '4294967296' is not an integer from 0"),
        (
            [*COMPILE, "--pipeline", "integerize", "--recipe", "r.toml"],
            "argument --recipe: not allowed with argument --pipeline",
        ),
    ],
)
def test_a_command_line_that_makes_no_sense(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("bitsmith: ")
    assert message in told.err
    assert told.err.count("\n") == 1
    assert "?." not in told.err


@pytest.mark.parametrize("arguments", [["--help"], ["compile", "--help"], ["verify", "-h"], ["--version"]])
def test_help_is_no_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "bitsmith" in capsys.readouterr().out
