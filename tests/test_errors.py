import pytest

from distail.errors import DistailError, counted, did_you_mean, is_out_of_memory


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("hering", ["random", "herding", "dm"], "Did you mean 'herding'?"),
        ("iteration", ("iterations", "image_lr"), "Did you mean 'iterations'?"),
        ("xyz", ["random", "dm"], "Choose one of: dm, random."),  # sorted, however they were given
        ("", ["b", "a"], "Choose one of: a, b."),
        ("anything", [], "There is nothing to choose from; leave it out."),
    ],
)
def test_the_closest_is_suggested_or_all_are_listed(name, options, expected):
    assert did_you_mean(name, options) == expected


def test_options_may_be_anything_that_can_be_gone_through():
    assert did_you_mean("fsat", {"fast": 1, "slow": 2}) == "Did you mean 'fast'?"
    assert did_you_mean("fsat", (name for name in ("slow", "fast"))) == "Did you mean 'fast'?"


def test_bad_input_is_not_a_bug():
    """Callers that catch programming errors must not swallow it, nor the other way round."""
    assert issubclass(DistailError, Exception)
    assert not issubclass(DistailError, (ValueError, TypeError, RuntimeError, OSError, AssertionError))
    assert str(DistailError("what to do")) == "what to do"


@pytest.mark.parametrize(
    ("number", "noun", "plural", "expected"),
    [(1, "class", "classes", "1 class"), (0, "image", "", "0 images"), (1234, "class", "classes", "1,234 classes")],
)
def test_a_number_with_its_noun(number, noun, plural, expected):
    assert counted(number, noun, plural) == expected


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own, which is imported by its users alone."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
            True,
        ),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_lack_of_memory_is_told_from_bugs(error, expected):
    assert is_out_of_memory(error) is expected
