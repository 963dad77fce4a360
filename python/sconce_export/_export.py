"""The one function: from a module to a model folder, or to an error and nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import torch

from . import _choice, _compare, _dimensions, _folder, _manifest, _names, _package, _samples, _torchscript, _write
from ._call import Call, Inputs, bind
from ._compare import Case, Eager
from ._dimensions import Dimensions
from ._error import ExportError
from ._manifest import Manifest
from ._reference import Targets
from ._report import Exported


def export(
    module: torch.nn.Module,
    example_inputs: Inputs,
    folder: Union[str, Path],
    *,
    version: Optional[int] = None,
    dynamic: Any = None,
    labels: Optional[Sequence[str]] = None,
    activation: Optional[str] = None,
    input_names: Optional[Sequence[str]] = None,
    output_names: Optional[Sequence[str]] = None,
    pad: Optional[Mapping[str, float]] = None,
    description: Optional[str] = None,
    golden: Union[int, Inputs, list[Inputs], None] = 8,
    data: Union[Inputs, Iterable[Inputs], None] = None,
    targets: Optional[Targets] = None,
    feature_names: Optional[Sequence[str]] = None,
    method: str = "auto",
    formats: Sequence[str] = ("torchscript",),
    program: Union[str, Path, None] = None,
    quiet: bool = False,
) -> Exported:
    """Writes a version of a model as sconce serves it, and checks what it wrote.

    `folder` gets `<version>/model.pt` and `golden.jsonl`, `model.toml`, `sample.json`, and with `data`
    `<version>/reference.json`. The module is run in evaluation mode, on the CPU and without gradients, as a copy: its
    mode, parameters and buffers stay as they are. What is written is loaded again and compared with it: row by row,
    in batches, in other sizes and with other values.

    Args:
        module: what is to be served. Its answers are tensors, or tuples, lists, dictionaries or data classes of them.
        example_inputs: a call that works: a tensor, a tuple (arguments by position), or a dictionary (by name). The
            first dimension of every tensor counts rows; two or more rows show more than one.
        folder: the model's folder, such as `"models/mine"`. Its name is the model's.
        version: a number that is not there yet; `None` takes the one behind the highest.
        dynamic: dimensions that vary, as `dynamic_shapes` of torch.export has them: `{"ids": {1: "length"}}`.
            Dimensions of one name have one size. The first one varies unless it is `None` here: `{"x": {0: None}}`.
        labels: names of the classes, in the order of the first output: as many as it has numbers a row, or two for
            one number.
        activation: what makes scores of that output: `"none"`, `"softmax"` or `"sigmoid"`. `None` looks at the
            module's answers: those from 0 to 1 are scores, others logits.
        input_names: names of the inputs on the wire, in the order of the example; `None` takes those of `forward`, or
            the name of a single one in a model.toml that is there. For outputs it is the same.
        output_names: names of the outputs; `None` takes keys and fields, or `output_0` and so on.
        pad: by input, the number that its one variable dimension is padded with, so that requests of different sizes
            share runs.
        description: one sentence for people.
        golden: how many requests with their answers go into golden.jsonl, from 0 to 10,000; or inputs as the example
            (a list of several), whose rows are taken.
        data: rows that the module was made with or that were held out, as the example or as a list or iterator of
            batches, at least 200 rows. They make reference.json, which requests are watched beside.
        targets: the truth of each row of `data`, in order: labels or their places, or numbers where there are no
            labels. They add accuracy and the like to reference.json, which labels that come back are held against.
        feature_names: what the numbers of a row of the one input are called in reference.json.
        method: `"auto"`, `"trace"` or `"script"`.
        formats: `"torchscript"` for model.pt, `"pt2"` for model.pt2, which is compiled by AOTInductor and takes minutes
            and a C++ compiler; or both. Of both the faster one serves.
        program: path of a sconce program, which then tries the folder (`sconce check`) before it gets its name.
        quiet: whether the report is not printed.

    Returns:
        What was written. `str()` of it is the report.

    Raises:
        ExportError: nothing was written. It names the thing, what was expected and what came.
    """
    asked = _check_formats(formats)
    folder = Path(folder)
    folder = folder if folder.name else folder.resolve()
    name = _names.model_name(folder)
    number = _folder.next_version(folder, version)
    if method not in ("auto", "trace", "script"):
        raise ExportError(f'method is {method!r}, expected "auto", "trace" or "script"')
    if labels is not None:
        labels = _manifest.check_labels(labels)
    if activation is not None and (labels is None or activation not in _manifest.ACTIVATIONS):
        raise ExportError(f'activation is {activation!r}, expected "none", "softmax" or "sigmoid", with labels')
    existing = _manifest.read(folder / _folder.MANIFEST)
    for word, value in (("feature_names", feature_names), ("targets", targets)):
        if value is not None and data is None:
            raise ExportError(f"{word} is given without data, which it belongs to")

    module = _torchscript.unwrap(module)
    call, inputs = bind(module, example_inputs)
    known = {} if existing is None else existing[1]
    names = _names.tensor_names("input", input_names or _manifest.only_name(known, "inputs", len(call.keys)), call.keys)
    dimensions = _dimensions.read(dynamic, call.keys, names, inputs)
    given_golden, n_golden = _golden_inputs(golden, call)
    batches = _batches(data, call, inputs, dimensions)
    notes: list[str] = []

    with _torchscript.in_evaluation(module) as own:
        eager = Eager(own, call)
        answer, parts, first = _compare.first_case(eager, inputs)
        out_names = output_names or _manifest.only_name(known, "outputs", len(parts))
        out_names = _names.tensor_names("output", out_names, [part.name for part in parts])
        first_batch = next(batches, None)
        cases = [
            first,
            *_compare.more_cases(eager, first, dimensions),
            *_compare.own_cases(eager, "golden", given_golden),
        ]
        for case in cases[len(cases) - len(given_golden) :]:
            words = _compare.missing(parts, case.outputs)
            if words is not None:
                raise ExportError(f"{words} for {case.what}")
        if data is not None and first_batch is None:
            raise ExportError("data has no rows, expected at least 200")
        if first_batch is not None:
            few = _compare.own_cases(eager, "data", [[tensor[: _write.BATCH] for tensor in first_batch]])
            notes += [
                f"{words} for the first rows of data" for words in [_compare.missing(parts, few[0].outputs)] if words
            ]
            cases += few
        _compare.check_outputs(parts, cases)
        outputs, has_rows, found = _manifest.output_specs(out_names, parts, cases, dimensions)
        notes += found
        manifest = Manifest(
            _manifest.input_specs(names, inputs, dimensions, pad or {}), outputs, has_rows, description=description
        )
        manifest, label_words = _label(manifest, labels, activation, existing, cases)
        if existing is not None:
            manifest.compare(existing[1], str(folder / _folder.MANIFEST), activation is not None)
            notes.append("model.toml was there already and is kept")
        form: Any = None
        kind, reason = "compiled", "as was asked"
        if "torchscript" in asked:
            form, reason, doubts = _choice.choose(own, call, names, answer, parts, inputs, cases, method)
            kind = form.kind
            notes += doubts
        is_apart = _choice.is_apart(eager, parts, first, dimensions)

        with _folder.staged(folder, number) as stage:
            # By what will be served: the file, and not what it was made of.
            forms: dict[str, Any] = {}
            trust = ""
            if form is not None:
                forms[_folder.MODEL], sha256 = _write.write_model(stage, form)
            if "pt2" in asked:
                path = stage.version_folder / _folder.PACKAGE
                package = _package.write(path, own, call, names, inputs, dimensions)
                forms[_folder.PACKAGE] = package
                trust = f"{name}@sha256:{package.sha256}"
                sha256 = sha256 if form is not None else package.sha256
            largest = 0.0
            for file, served in forms.items():
                problem, apart = _compare.compare(parts, served, cases)
                if problem is not None:
                    raise ExportError(f"{file}, loaded again, answers otherwise than the module: {problem}")
                largest = max(largest, apart)
            files = list(forms)
            new = _write.write_beside(stage, manifest, inputs, dimensions, existing, eager, notes)
            sources = [*given_golden, *([] if first_batch is None else [first_batch]), inputs]
            made = _samples.golden(manifest, eager, n_golden, sources, dimensions, is_apart)
            if made.n_requests:
                for file, served in forms.items():
                    _write.check_golden(made, parts, names, inputs, eager, (file, served))
                stage.write(_folder.GOLDEN, made.text)
                files.append(_folder.GOLDEN)
            elif n_golden:
                notes.append("no golden.jsonl: no answer is finite numbers of a known shape")
            n_reference = 0
            if first_batch is not None:
                rows = itertools.chain([first_batch], batches)
                n_reference = _write.write_reference(
                    stage, manifest, eager, rows, (feature_names, targets), sha256, notes
                )
                files.append(_folder.REFERENCE)
            checked = _write.check(program, name, stage, trust) if program is not None else ""
            stage.commit(new)

    place = folder / str(number)
    exported = Exported(
        model=name,
        version=number,
        folder=place,
        form=kind,
        reason=reason,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        has_rows=has_rows,
        is_apart=is_apart,
        n_cases=len(cases),
        largest_difference=largest,
        labels=label_words,
        n_golden=made.n_requests,
        n_reference=n_reference,
        files=[*[place / file for file in files], *[folder / file for file in new]],
        checked=checked,
        trust=trust,
        notes=notes,
    )
    if not quiet:
        print(exported)
    return exported


def _check_formats(formats: Sequence[str]) -> list[str]:
    asked = [formats] if isinstance(formats, str) else list(formats)
    for format_name in asked:
        if format_name not in ("torchscript", "pt2"):
            raise ExportError(f'format {format_name!r} cannot be served, expected "torchscript" or "pt2"')
    if not asked:
        raise ExportError('formats is empty, expected ("torchscript",), ("pt2",) or both')
    return asked


def _golden_inputs(golden: Any, call: Call) -> tuple[list[list[torch.Tensor]], int]:
    """Inputs that are given for golden.jsonl, and how many requests it is to have."""
    if golden is None:
        return [], 0
    if isinstance(golden, int) and not isinstance(golden, bool):
        if not 0 <= golden <= _samples.MAX_REQUESTS:
            raise ExportError(f"golden is {golden}, expected 0 to {_samples.MAX_REQUESTS} requests")
        return [], golden
    items = golden if isinstance(golden, list) else [golden]
    given = [
        call.read(item, f"golden[{place}]" if isinstance(golden, list) else "golden")
        for place, item in enumerate(items)
    ]
    return given, min(_samples.MAX_REQUESTS, sum(tensors[0].shape[0] for tensors in given))


def _batches(
    data: Any, call: Call, example: Sequence[torch.Tensor], dimensions: Dimensions
) -> Iterator[list[torch.Tensor]]:
    """The batches of `data`, each checked against the example."""
    if data is None:
        return
    if dimensions.n_rows is None:
        raise ExportError(
            "data is given, but the inputs do not share their rows, so that there is no reference of them"
        )
    is_one = isinstance(data, (torch.Tensor, tuple, Mapping))
    for place, batch in enumerate([data] if is_one else data):
        where = "data" if is_one else f"data[{place}]"
        tensors = call.read(batch, where)
        for key, tensor, like, axes in zip(call.keys, tensors, example, dimensions.names):
            fits = tensor.dim() == like.dim() and all(
                axis == 0 or name is not None or a == b
                for axis, (name, a, b) in enumerate(zip(axes, tensor.shape, like.shape))
            )
            if tensor.dtype != like.dtype or not fits or not tensor.numel():
                raise ExportError(
                    f"{where}: input {key!r} is {tensor.dtype} {list(tensor.shape)}, expected {like.dtype} "
                    f"{list(like.shape)} as the example, of any number of rows"
                )
        if len({tensor.shape[0] for tensor in tensors}) > 1:
            raise ExportError(f"{where} has {_compare.shapes(tensors)}, expected as many rows in each")
        yield tensors


def _label(
    manifest: Manifest, labels: Optional[list[str]], activation: Optional[str], existing: Any, cases: Sequence[Case]
) -> tuple[Manifest, str]:
    """The manifest with labels: those that are given, or those of a model.toml that is there."""
    why = "as was asked"
    if labels is None and existing is not None and isinstance(existing[1].get("labels"), list):
        labels, activation, why = existing[1]["labels"], existing[1].get("activation", "none"), "as model.toml has it"
    elif labels is not None and activation is None and existing is not None and "labels" in existing[1]:
        activation, why = existing[1].get("activation", "none"), "as model.toml has it"
    if labels is None:
        return manifest, ""
    if not manifest.outputs:
        raise ExportError("labels take an output of one shape, but the module's outputs have none")
    guessed, because = _manifest.activation_of(labels, manifest.outputs[0], cases)
    if activation is None:
        activation, why = guessed, because
    manifest = Manifest(
        manifest.inputs, manifest.outputs, manifest.has_rows, list(labels), activation, manifest.description
    )
    return manifest, f"{len(labels)}, activation {activation}: {why}"
