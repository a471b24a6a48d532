"""Runs a captured model on every case, and checks that the exported program computes what the module does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor, fx, nn

from edgeconv.errors import CaptureError, InvalidInputError
from edgeconv.formats.handler import Array
from edgeconv.signature import Dim, Signature
from edgeconv.validation.cases import Drawer, Drawn, choose_sizes, vary_example
from edgeconv.validation.samples import Samples
from edgeconv.validation.shapes import Observed
from edgeconv_converters.torch_export.arrays import tensor_from_array, to_array
from edgeconv_converters.torch_export.evaluate import largest_difference, run
from edgeconv_converters.torch_export.refusals import range_refusal, user_lines

__all__ = ["Ran", "Trial", "forward_failure", "run_once", "tolerance"]

_NOISE_CASES = 2
# A model that PyTorch refused to export may have branches: the more cases, the more of them are taken.
_NOISE_CASES_WITHOUT_PROGRAM = 8
_MAX_VARIATIONS = 64
_MAX_MESSAGE_LINES = 4
# Rounding differs where an operator is fused or split; a wrong program differs by far more than this.
_STEPS_OF_ROUNDING = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A case and what the module gave for it."""

    drawn: Drawn
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def observed(self) -> Observed:
        """Sizes in, shapes out."""
        return Observed(sizes=self.drawn.sizes, shapes=tuple(tuple(o.shape) for o in self.outputs))


class RefusedError(Exception):
    """The module or the program does not take a size; whoever tries sizes goes on with the next."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """The module and the program side by side.

    Attributes:
        module: The flat module.
        program: The exported program's module; None if there is no program.
        signature: The inputs; its dims are narrowed to the sizes that work.
        output_names: For messages.
        bounded: Dims whose range the user gave.
        seed: For random inputs.
        notes: What the user should know.
        facts: What the report says beside, of no concern by itself.
        ran: All cases so far.
        on_ran: Hears of each.
    """

    module: nn.Module
    program: fx.GraphModule | None
    signature: Signature
    output_names: tuple[str, ...]
    bounded: frozenset[str]
    seed: int
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    ran: list[Ran] = field(default_factory=list)
    on_ran: Callable[[Ran], None] | None = None

    def run_example(
        self,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        check_repeatable: Callable[[], None],
    ) -> None:
        """Take the example, which the module has run already.

        The program runs it with another seed: one that draws random numbers computes something else, as one that holds such
        a number for a constant does, so that the module itself runs once more only where the program differs.

        Args:
            inputs: The example.
            outputs: What the module gave for it.
            check_repeatable: Raises where the module itself gives something else with another seed.

        Raises:
            CaptureError: The program does not take the example, or computes something else.
        """
        if self.program is None:
            check_repeatable()
        arrays = self._arrays(inputs)
        sizes = self.signature.example_sizes()
        drawn = Drawn(name="example", kind="example", sizes=sizes, inputs=arrays)
        try:
            self._check_program(drawn, inputs, outputs, self.seed + 1)
        except CaptureError:
            check_repeatable()
            raise
        except RefusedError as error:
            check_repeatable()
            raise CaptureError(
                "the exported program does not take the example inputs",
                why=str(error),
                hint="give dynamic dims an example size of 2 or more, e.g. N=2",
            ) from error
        self._keep(Ran(drawn=drawn, inputs=inputs, outputs=outputs))

    def run_noise(self) -> None:
        """Random inputs of the example's sizes; those that the model fails on are left out.

        The example is varied as well where no random inputs run, and where there is no program: nothing else would show
        that the values of an input decide about the shape of an output.

        Raises:
            CaptureError: The program does not take, or computes wrongly, what the model takes.
        """
        example = self.ran[0].drawn
        drawer = Drawer(self.signature.inputs, example.inputs, self.seed)
        count = _NOISE_CASES if self.program is not None else _NOISE_CASES_WITHOUT_PROGRAM
        drawn = [drawer.draw(f"noise_{n}", "noise", example.sizes, n) for n in range(count)]
        failed = self._add_all(drawn)
        if len(failed) == count:
            self.notes.append(f"random inputs like the example do not run: {failed[0]}")
        if self.program is None or len(failed) == count:
            varied = islice(vary_example(example.inputs), _MAX_VARIATIONS)
            self._add_all(
                Drawn(name=f"varied_{n}", kind="noise", sizes=example.sizes, inputs=inputs)
                for n, inputs in enumerate(varied)
            )

    def _add_all(self, cases: Iterable[Drawn]) -> list[RefusedError]:
        """Run cases; returns the refusals of those that the model fails on."""
        failed = []
        for drawn in cases:
            try:
                self._add(drawn)
            except RefusedError as error:
                failed.append(error)
        return failed

    def check_more_than_the_example_ran(self) -> None:
        """Refuse a model of which nothing is known but what it does with one set of values.

        Raises:
            CaptureError: There is no program, which would hold for all values, and no other inputs ran.
        """
        if self.program is None and len(self.ran) == 1:
            raise CaptureError(
                "the model runs with nothing but its example inputs",
                why="PyTorch cannot export it, and random inputs and variations of the example all fail: "
                + "; ".join(self.notes),
                hint="give real inputs with --samples FILE, more than one",
            )

    def run_samples(self, samples: Samples, *, first: int = 0) -> None:
        """The user's own samples, which must run.

        Args:
            samples: The samples.
            first: The number of the first.

        Raises:
            InvalidInputError: The model fails on one.
        """
        self.facts += filter(None, [samples.note])
        for number, sample in enumerate(samples.items, start=first):
            name = f"sample_{number}"
            try:
                self._add(Drawn(name=name, kind="sample", sizes=sample.sizes, inputs=sample.inputs))
            except RefusedError as error:
                raise InvalidInputError(
                    f"the model fails on sample {number}",
                    why=str(error),
                    hint="leave this sample out, or mend it",
                    details=user_lines(error),
                ) from error

    def run_sizes(self) -> None:
        """Other sizes of the dynamic dims; a range that does not work is narrowed to what does.

        Raises:
            CaptureError: The range was given by the user.
        """
        example = self.ran[0].drawn
        drawer = Drawer(self.signature.inputs, example.inputs, self.seed)
        for number, candidates in enumerate(choose_sizes(self.signature.dims)):
            self._run_first(drawer, number, candidates)

    def _run_first(self, drawer: Drawer, number: int, candidates: list[dict[str, int]]) -> None:
        problems: list[RefusedError] = []
        example = self.signature.example_sizes()
        for sizes in (*candidates, example):
            if sizes != example:
                drawn = drawer.draw(f"sizes_{number}", "sizes", sizes, 100 + number)
                try:
                    self._add(drawn)
                except RefusedError as error:
                    problems.append(error)
                    continue
            if problems:
                self._narrow(candidates[0], sizes, problems[0])
            return

    def _narrow(
        self, asked: Mapping[str, int], works: Mapping[str, int], why: RefusedError
    ) -> None:
        dims = []
        for dim in self.signature.dims:
            low, high = dim.min, dim.max
            if asked[dim.name] < min(works[dim.name], dim.example):
                low = works[dim.name]
            elif asked[dim.name] > dim.example and works[dim.name] == dim.example:
                high = dim.example
            if (low, high) != (dim.min, dim.max):
                self._note_narrowed(dim, low, high, why)
            dims.append(replace(dim, min=low, max=high))
        self.signature = replace(self.signature, dims=tuple(dims))

    def _note_narrowed(self, dim: Dim, low: int, high: int | None, why: RefusedError) -> None:
        if dim.name in self.bounded:
            raise range_refusal(dim, low, high, user_lines(why)) from why
        text = f"{low} or more" if high is None else f"{low} to {high}"
        self.notes.append(f"dim '{dim.name}' is taken as {text}: other sizes fail ({why})")

    def _add(self, drawn: Drawn) -> None:
        inputs = tuple(
            tensor_from_array(drawn.inputs[spec.name], spec.dtype) for spec in self.signature.inputs
        )
        try:
            outputs = run(self.module, inputs, self.seed)
        except Exception as error:
            raise RefusedError(_one_line(error)) from error
        self._check_program(drawn, inputs, outputs, self.seed)
        self._keep(Ran(drawn=drawn, inputs=inputs, outputs=outputs))

    def _keep(self, ran: Ran) -> None:
        self.ran.append(ran)
        if self.on_ran is not None:
            self.on_ran(ran)

    def _check_program(
        self, drawn: Drawn, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], seed: int
    ) -> None:
        if self.program is None:
            return
        try:
            computed = run(self.program, inputs, seed)
        except Exception as error:
            refused = RefusedError(_one_line(error))
            if drawn.kind != "example" and drawn.sizes == self.signature.example_sizes():
                raise _too_narrow(drawn, refused) from error
            raise refused from error
        wrong = [
            f"{name}: {distance:.3g} (allowed {tolerance(right):.3g})"
            for name, mine, right in zip(self.output_names, computed, outputs, strict=True)
            if (distance := largest_difference(mine, right)) > tolerance(right)
        ]
        if wrong:
            raise CaptureError(
                f"the exported program computes something else than the model, on {drawn.name}",
                why="torch.export recorded a value or a branch that holds for the example only",
                hint="look for Python numbers taken from tensors (.item(), int(), len()) in forward",
                details=wrong,
            )

    def _arrays(self, inputs: Sequence[Tensor]) -> dict[str, Array]:
        specs = self.signature.inputs
        return {spec.name: to_array(t) for spec, t in zip(specs, inputs, strict=True)}


def _too_narrow(drawn: Drawn, why: RefusedError) -> CaptureError:
    return CaptureError(
        f"the exported program does not take what the model takes, on {drawn.name}",
        why=str(why),
        hint="look for assumptions about the values of tensors in forward, e.g. torch._check",
    )


def tolerance(reference: Tensor) -> float:
    """The largest difference that rounding in another order explains."""
    if not (reference.is_floating_point() or reference.is_complex()) or not reference.numel():
        return 0.0
    finite = reference[reference.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return _STEPS_OF_ROUNDING * torch.finfo(reference.dtype).eps * largest


def run_once(
    module: nn.Module, inputs: Sequence[Tensor], seed: int, described: str
) -> tuple[Tensor, ...]:
    """Run the example.

    Raises:
        InvalidInputError: `forward` raises, with its message and the user's source lines.
    """
    try:
        return run(module, inputs, seed)
    except InvalidInputError:
        raise
    except (Exception, SystemExit) as error:
        raise forward_failure(error, described) from error


def forward_failure(error: BaseException, described: str) -> InvalidInputError:
    """What a model that raises is told as.

    Args:
        error: What `forward` raised.
        described: The inputs it was given.
    """
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    text = " ".join(lines[:_MAX_MESSAGE_LINES])
    return InvalidInputError(
        "the model's forward fails on the example inputs",
        why=f"{type(error).__name__}: {text}" if text else type(error).__name__,
        hint=f"it was given {described}: give others with --input, or let the factory return them",
        details=user_lines(error),
    )


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[
        :300
    ]
