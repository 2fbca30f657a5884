"""What our own lines warn of is an error in the tests; what a foreign library says is not."""

from __future__ import annotations

import warnings

import pytest


@pytest.mark.parametrize("kind", [UserWarning, DeprecationWarning, RuntimeWarning, FutureWarning])
@pytest.mark.parametrize("module", ["mmkn_widgets", "mmkn_widgets.models.fit", __name__])
def test_a_warning_of_ours_is_an_error(module: str, kind: type[Warning]) -> None:
    with pytest.raises(kind, match="told"):
        warnings.warn_explicit("told", kind, "file.py", 1, module=module)


@pytest.mark.parametrize("module", ["torch.nn.modules", "transformers", "traitlets"])
def test_a_foreign_warning_is_none(module: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.warn_explicit("told", DeprecationWarning, "file.py", 1, module=module)
    assert [str(one.message) for one in told] == ["told"]
