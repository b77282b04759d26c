"""How commands are called that must be refused."""

import pytest

from tests.cli.calling import assert_clear_refusal, call, contents


@pytest.fixture
def refused(tmp_path, shared):
    """Calls a command that must be refused, naming these things, without a trace in any folder."""

    def call_and_check(*arguments: object, names: tuple[str, ...]) -> str:
        before = contents(tmp_path, shared)
        message = assert_clear_refusal(call(*arguments), *names)
        assert contents(tmp_path, shared) == before
        return message

    return call_and_check
