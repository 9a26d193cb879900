"""What every attack owes to its victim, to the environment and to the user."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from advwrap.attacks import Attack
from advwrap.randomness import Streams
from advwrap.sets import UNBOUNDED, Bounds, PerturbationSet
from advwrap.testing import strategies
from advwrap.testing.contracts.rules import (
    assert_untouched,
    global_randomness_untouched,
    rule,
    same_bits,
    snapshot,
)
from advwrap.victims import Context


class AttackContract:
    """Inherit it in a test class named ``Test...`` and override `make_attack`.

    The victim of the attack is up to you; the row rules ask for one whose numbers do not depend on the batch size, such
    as `advwrap.testing.victims.ElementwisePolicy`, unless `row_tolerance` allows a difference.

    Example:
        >>> from advwrap import Noise
        >>> class TestMyNoise(AttackContract):
        ...     def make_attack(self, within):
        ...         return Noise(within)
        >>> TestMyNoise().test_scalars_and_integers_are_refused()
    """

    shape: tuple[int, ...] = (3,)
    """Of one row."""

    dtypes: Sequence[torch.dtype] = strategies.ALL_FLOATS
    """That the attack and its victim accept."""

    random: bool = True
    """Whether different seeds give different perturbations."""

    row_tolerance: float = 0.0
    """How far a row may be from what it is alone, for victims whose numbers depend on the batch size."""

    def make_attack(self, within: PerturbationSet) -> Attack:
        """The attack, perturbing within this set."""
        raise NotImplementedError("override make_attack(within)")

    def sets(self) -> st.SearchStrategy[PerturbationSet]:
        """The sets to try: every ball, radius and mask by default."""
        return strategies.sets(shape=self.shape)

    def context(self, rows: int) -> Context | None:
        """What the victim reads besides the observation; nothing by default."""
        return None

    def modules(self) -> Sequence[nn.Module]:
        """The victim's modules, which must be left alone; none by default."""
        return ()

    # The result

    @rule
    def test_result_is_feasible(self, data: st.DataObject) -> None:
        """Like the input, exactly in the set and in the bounds, and nothing else has changed."""
        within, clean = data.draw(self.sets()), self._clean(data)
        bounds = data.draw(st.one_of(st.just(UNBOUNDED), strategies.bounds(shape=self.shape)))
        attack, context = self.make_attack(within), self.context(len(clean))
        modules, kept = self.modules(), copy.deepcopy((clean, context))
        before = snapshot(modules)
        with global_randomness_untouched():
            adv = attack(clean, context=context, bounds=bounds, generator=self._streams(len(clean)))
        self._like_the_input(adv, clean)
        delta = adv.double() - clean.double()
        assert within.contains(delta).all(), f"the perturbation {delta} must lie in {within}."
        self._in_the_bounds(adv.double(), clean.double(), bounds)
        assert_untouched(modules, before)
        assert same_bits(clean, kept[0]), "`clean` must not be changed."
        for key, value in (kept[1] or {}).items():
            assert torch.equal(torch.as_tensor(context[key]), torch.as_tensor(value)), f"`context[{key!r}]` changed."  # type: ignore[index]

    def _like_the_input(self, adv: Tensor, clean: Tensor) -> None:
        assert adv.shape == clean.shape, f"the shape must stay {clean.shape}, got {adv.shape}."
        assert adv.dtype == clean.dtype, f"the dtype must stay {clean.dtype}, got {adv.dtype}."
        assert adv.device == clean.device, f"the device must stay {clean.device}, got {adv.device}."
        assert adv.is_contiguous(), "the result must be contiguous."
        assert not adv.requires_grad, "the result must carry no gradient history."
        assert adv.isfinite().all(), f"the result must be finite, got {adv}."
        shared = clean.numel() and adv.untyped_storage().data_ptr() == clean.untyped_storage().data_ptr()
        assert not shared, "the result must not share memory with `clean`: environments reuse their buffers."

    def _in_the_bounds(self, adv: Tensor, clean: Tensor, bounds: Bounds) -> None:
        """A feature that is within the bounds stays there; one that is outside goes no further out."""
        low = torch.minimum(torch.as_tensor(bounds.low).double(), clean)
        high = torch.maximum(torch.as_tensor(bounds.high).double(), clean)
        assert ((adv >= low) & (adv <= high)).all(), f"{adv} must lie in [{low}, {high}]."

    @rule
    def test_no_radius_no_change(self, data: st.DataObject) -> None:
        """With radius 0 the input comes back bit for bit: -0.0 and infinities too."""
        within = data.draw(strategies.sets(shape=self.shape, eps=st.just(0.0)))
        clean = self._clean(data, infinities=True)
        assert same_bits(self._run(self.make_attack(within), clean), clean), "radius 0 must change no bit."

    # Randomness

    @rule
    def test_seed_decides(self, data: st.DataObject) -> None:
        """The same seed gives the same bits: again, for a copy, for other strides, with a `torch.Generator`."""
        clean, attack, seed = self._clean(data, rows=2), self._attack(data), data.draw(strategies.seeds())
        usual = self._run(attack, clean, seed=seed)
        assert same_bits(self._run(attack, clean, seed=seed), usual), "one seed must give one result."
        assert same_bits(self._run(copy.deepcopy(attack), clean, seed=seed), usual), "a copy must do the same."
        strided = torch.empty(*clean.shape, 2, dtype=clean.dtype)[..., 0].copy_(clean)
        assert same_bits(self._run(attack, strided, seed=seed), usual), "strides must not matter."
        first, second = (
            attack(clean, context=self.context(2), generator=torch.Generator().manual_seed(seed)) for _ in range(2)
        )
        assert same_bits(first, second), "one generator seed must give one result."

    def test_seeds_differ(self) -> None:
        """Other seeds give other perturbations, unless the attack is not random; no global generator is used."""
        attack, clean = self.make_attack(self._usual_set()), torch.zeros(16, *self.shape, dtype=self.dtypes[0])
        first, second = (self._run(attack, clean, seed=seed) for seed in (0, 1000))
        assert torch.equal(first, second) != self.random, f"`random` is {self.random}, but the seeds say otherwise."
        with global_randomness_untouched():
            attack(clean, context=self.context(16))

    # Rows

    @rule
    def test_rows_are_independent(self, data: st.DataObject) -> None:
        """A row gets in a batch what it gets alone, and the order of the rows does not matter."""
        clean, attack = self._clean(data, rows=3), self._attack(data)
        whole = self._run(attack, clean)
        alone = torch.cat(
            [
                attack(clean[i : i + 1], context=self._rows(slice(i, i + 1)), generator=Streams.seeded([i]))
                for i in range(3)
            ]
        )
        self._same(whole, alone, "a row must get in a batch what it gets alone.")
        order = torch.tensor(data.draw(st.permutations(range(3))))
        moved = attack(clean[order], context=self._rows(order), generator=Streams.seeded(order.tolist()))
        self._same(moved, whole[order], "the order of the rows must not matter.")
        assert self._run(attack, clean[:0]).shape == clean[:0].shape, "an empty batch must stay empty."

    @rule
    def test_broken_row_stays_alone(self, data: st.DataObject) -> None:
        """NaN and infinities in one row change no other row, and no finite feature becomes NaN."""
        clean, attack = self._clean(data, rows=3), self._attack(data)
        broken = clean.clone()
        features = data.draw(strategies.masks(shape=self.shape))
        broken[1][features] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
        adv, whole = self._run(attack, broken), self._run(attack, clean)
        self._same(adv[0::2], whole[0::2], "a row that is not finite must not change the others.")
        bad = ~broken.isfinite()
        assert same_bits(adv[bad], broken[bad]), "what is not finite must stay as it is."
        assert adv[~bad].isfinite().all(), "a finite feature must stay finite."

    # Where it runs

    @rule
    def test_works_without_gradients(self, data: st.DataObject) -> None:
        """The same result under `no_grad` and `inference_mode`, also for tensors that were made there."""
        clean, attack = self._clean(data, dtypes=strategies.FLOATS), self._attack(data)
        usual = self._run(attack, clean)
        with torch.no_grad():
            assert same_bits(self._run(attack, clean), usual), "no_grad must change nothing."
        with torch.inference_mode():
            assert same_bits(self._run(attack, clean), usual), "inference_mode must change nothing."
            made_here = clean.clone()
            assert same_bits(self._run(attack, made_here), usual), "inference tensors must work."
        assert same_bits(self._run(attack, made_here), usual), "inference tensors must work outside, too."
        of_a_leaf = self._run(attack, clean.clone().requires_grad_())
        assert same_bits(of_a_leaf, usual), "leaves must work."
        assert not of_a_leaf.requires_grad, "the result must carry no gradient history, also where `clean` has one."

    def test_scalars_and_integers_are_refused(self) -> None:
        """A tensor without a batch axis, and integers in a ball, raise with the name of the argument."""
        attack = self.make_attack(self._usual_set())
        with pytest.raises((TypeError, ValueError), match="clean"):
            attack(torch.tensor(0.0, dtype=self.dtypes[0]))
        with pytest.raises(TypeError, match="clean"):
            attack(torch.zeros(2, *self.shape, dtype=torch.int64), context=self.context(2))

    # What the rules draw

    def _attack(self, data: st.DataObject) -> Attack:
        return self.make_attack(data.draw(self.sets()))

    def _usual_set(self) -> PerturbationSet:
        from advwrap.sets import LinfBall

        return LinfBall(0.1)

    def _clean(
        self,
        data: st.DataObject,
        *,
        rows: int | None = None,
        dtypes: Sequence[torch.dtype] | None = None,
        infinities: bool = False,
    ) -> Tensor:
        among = [d for d in self.dtypes if dtypes is None or d in dtypes]
        dtype = data.draw(strategies.dtypes(among=among))
        return data.draw(strategies.observations(shape=self.shape, rows=rows, dtype=dtype, infinities=infinities))

    def _run(self, attack: Attack, clean: Tensor, *, bounds: Bounds = UNBOUNDED, seed: int = 0) -> Tensor:
        rows = len(clean)
        return attack(clean, context=self.context(rows), bounds=bounds, generator=self._streams(rows, seed))

    def _streams(self, rows: int, seed: int = 0) -> Streams:
        return Streams.seeded(range(seed, seed + rows))

    def _rows(self, rows: slice | Tensor) -> Context | None:
        context = self.context(3)
        if context is None:
            return None
        return {key: value[rows] if isinstance(value, Tensor) else value for key, value in context.items()}

    def _same(self, a: Tensor, b: Tensor, message: str) -> None:
        if self.row_tolerance == 0:
            assert same_bits(a, b), f"{message} Got {a} and {b}."
        else:
            close = torch.allclose(a, b, rtol=0.0, atol=self.row_tolerance, equal_nan=True)
            assert close, f"{message} Got {a} and {b}."
