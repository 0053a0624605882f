"""The transformer: sizes that it refuses."""

import pytest

from keisei.nets.registry import NetError, check


def test_channels_that_do_not_fill_whole_heads_are_refused() -> None:
    check("transformer", blocks=1, channels=32)
    with pytest.raises(
        NetError, match="transformer of 1 x 40 can't be built: channels: a multiple"
    ):
        check("transformer", blocks=1, channels=40)
