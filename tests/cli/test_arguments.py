"""Mistakes on the command line: one line that says what was given, what is allowed and where to read more."""

import pytest

from pinfold.cli.main import VERBS, main

CASES = {
    "nothing": ([], "pinfold: the following arguments are required: VERB, one of convert, push, "),
    "no such verb": (["psh"], "pinfold: argument VERB: invalid choice: 'psh' (choose from "),
    "an option of no verb": (
        ["push", "--chekpoint", "x"],
        "unrecognized arguments: --chekpoint (is it --checkpoint?)",
    ),
    "one too many": (["check", "a", "b"], "pinfold check: unrecognized arguments: b"),
    "no action": (["tokenizer"], "pinfold tokenizer: the following arguments are required: ACTION, one of train, add"),
    "an option left out": (["tokenizer", "train", "x"], "pinfold tokenizer train: the following arguments are"),
    "a choice": (["tokenizer", "train", "x", "--output", "y", "--kind", "z"], "invalid choice: 'z' (choose from "),
    "a number": (["train", "resnet_model", "--epochs", "abc"], "'abc' must be a whole number of at least 1"),
    "no value": (["compat", "make"], "pinfold compat make: the following arguments are required: VERSION"),
    "a control character": (["push", "a", "b\x1b[31m\nc"], "unrecognized arguments: b\\x1b[31m c"),
    "the Hub's": (["hub", "--port", "many"], "pinfold hub: argument --port: "),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_line_and_exit_code_2(name, capsys):
    given, told = CASES[name]
    with pytest.raises(SystemExit) as ended:
        main(given)
    out, error = capsys.readouterr()
    assert ended.value.code == 2 and not out
    assert told in error and error.count("\n") == 1 and error.endswith(" --help\n"), error


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_its_mistakes_so(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--no-such-option"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith(f"pinfold {verb}") and error.count("\n") == 1, error
