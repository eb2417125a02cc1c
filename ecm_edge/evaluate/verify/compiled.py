"""One form of a model as C: generated once, built for this host and for a target in threads beside the hops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.errors import EcmEdgeError, FirmwareError
from ecm_edge.base.records import Evidence
from ecm_edge.base.threads import usable_cores
from ecm_edge.evaluate.verify.records import VerifiedFirmware, is_this_host
from ecm_edge.firmware import build, emulate, make, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.verify.forms import FormFile
    from ecm_edge.evaluate.verify.segments import Segments
    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.make import Sources
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.targets import Target

T = TypeVar("T")
_MANY = 2000  # from so many segments on, an optimised host program saves more time than its build takes
_LEAST_EMULATED = 16  # segments for each emulator, since its start takes time too


class Once(Generic[T]):
    """A value that the first call makes, or the error of making it; later calls, from any thread, get the same."""

    def __init__(self, produce: Callable[[], T]) -> None:
        self._produce, self._lock = produce, Lock()
        self._made: list[T] = []
        self._problem: EcmEdgeError | None = None

    def __call__(self) -> T:
        """The value; raises the error of making it."""
        with self._lock:
            if self._problem is None and not self._made:
                try:
                    self._made.append(self._produce())
                except EcmEdgeError as problem:
                    self._problem = problem
        if self._problem is not None:
            raise self._problem
        return self._made[0]

    @property
    def made(self) -> T | None:
        """The value if it was made, and None otherwise; it is not made now."""
        return self._made[0] if self._made else None


class Compiled:
    """The C of one form, its builds, and what they answer.

    Args:
        form: its name.
        file: its ONNX file.
        target: with a `[firmware]`.
        segments: what the host program answers.
        folder: for its builds; made when needed.
        ship: whether the image for the board is built too.

    Each build raises ModelError where no C can be made of the form, FirmwareError where a compiler fails.
    """

    def __init__(
        self, form: Form, file: FormFile, target: Target, segments: Segments, folder: Path, *, ship: bool
    ) -> None:
        self.form, self.file, self.target = form, file, target
        self._segments, self._folder, self._ship = segments, folder, ship
        self._emulated_segments = 0
        self.sources = Once(self._make_sources)
        self.emulated = Once(lambda: self._image("emulated", emulated=True))
        self.emulated_trace = Once(lambda: self._image("emulated_trace", emulated=True, trace=True))
        self.host_trace = Once(lambda: make.host_image(self.sources().folder, folder / "host_trace", trace=True))
        self.shipped = Once(self._make_shipped)

    def start(self, pool: ThreadPoolExecutor) -> None:
        """Begin to build what the hops will need."""
        wanted: list[Once[Sources] | Once[Image]] = [self.sources]
        wanted += [self.host_trace] if self.form == "int8" else []
        wanted += [self.emulated] if emulate.available(self.target) is None and not is_this_host(self.target) else []
        wanted += [self.shipped] if self._ship else []

        def produce() -> None:
            for each in wanted:
                with suppress(EcmEdgeError):  # `Once` raises it again where the value is used
                    each()

        pool.submit(produce)

    @cached_property
    def host_scores(self) -> Floats:
        """Scores (N, S) of all segments by the C on this host."""
        return emulate.run_batch(self.sources().host, self._segments.samples)

    def emulated_scores(self, samples: Floats) -> Floats:
        """Scores (n, S) of samples (n, T) on the emulated board, in several emulators side by side."""
        image = self.emulated()
        workers = max(1, min(usable_cores(), len(samples) // _LEAST_EMULATED))
        with ThreadPoolExecutor(workers) as pool:
            parts = pool.map(lambda part: emulate.run_batch(image, part), np.array_split(samples, workers))
            scores = np.concatenate(list(parts))
        self._emulated_segments = len(samples)
        return scores

    def shown(self, trace: Image, samples: Floats) -> list[list[tuple[int, bytes]]]:
        """The buffers that a trace build prints for each of the samples (n, T)."""
        return emulate.run_trace(trace, samples, shown=len(self.sources().generated.traced))[1]

    def verified(self) -> VerifiedFirmware | None:
        """What was built, by hash; None where nothing was.

        Raises:
            FirmwareError: the image for the board cannot be built, or holds another compiled model than the emulated.
        """
        sources = self.sources.made
        if sources is None:
            return None
        emulated, native = self.emulated.made, is_this_host(self.target)
        ran = sources.host if native else emulated
        shipped = self.shipped() if self._ship and ran else None
        if shipped and ran and _model_object(shipped) != _model_object(ran):
            raise FirmwareError(
                "the image for the board holds the compiled model that was run",
                "another one",
                "The compiler is not deterministic: name another in the target's [firmware].",
            )
        return VerifiedFirmware(
            form=self.form,
            model_sha256=self.file.classifier.sha256,
            sources={path.name: files.sha256_file(path) for path in sorted(sources.folder.iterdir())},
            compiler=toolchain.version(build.firmware_of(self.target).compiler) if ran else None,
            model_object=_model_object(ran) if ran else None,
            emulated_image=files.sha256_file(emulated.elf) if emulated else None,
            emulated_segments=self._emulated_segments,
            shipped_image=files.sha256_file(shipped.shipped) if shipped else None,
            evidence=Evidence.MEASURED if native else Evidence.EMULATED,
        )

    def _make_sources(self) -> Sources:
        self._folder.mkdir(parents=True, exist_ok=True)
        quick = len(self._segments.samples) <= _MANY and not is_this_host(self.target)
        flags = make.QUICK if quick else build.firmware_of(targets.load("host")).model_flags
        proto, name = self.file.classifier.proto, self.file.path.name
        return make.make_sources(proto, self.target, self._folder, model=name, host_flags=flags)

    def _make_shipped(self) -> Image:
        return make.make_image(self.sources(), "serial", self._folder / "shipped")

    def _image(self, name: str, *, emulated: bool, trace: bool = False) -> Image:
        return make.make_image(self.sources(), "batch", self._folder / name, emulated=emulated, trace=trace)


def _model_object(image: Image) -> str:
    """SHA-256 of the first object, which is the generated code's."""
    return files.sha256_file(image.objects[0])


class Workshop:
    """Where the C of several forms is built side by side, for as long as a verification takes."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._folder, self._pool = folder, pool

    def compiled(
        self, form: Form, file: FormFile, target: Target, segments: Segments, *, ship: bool, begin: bool
    ) -> Compiled:
        """The C of a form; it is built from now on if `begin`, else when it is first needed."""
        made = Compiled(form, file, target, segments, self._folder / form, ship=ship)
        if begin:
            made.start(self._pool)
        return made


@contextmanager
def workshop() -> Iterator[Workshop]:
    """A workshop in a temporary folder."""
    with (
        files.scratch_folder() as folder,
        ThreadPoolExecutor(usable_cores()) as pool,
    ):
        try:
            yield Workshop(folder, pool)
        finally:
            pool.shutdown(cancel_futures=True)
