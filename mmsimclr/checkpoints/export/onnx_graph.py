"""Encoders written as ONNX graphs, compared with the original before they are saved."""

import json
import warnings
from types import ModuleType
from typing import BinaryIO

import torch
from torch import Tensor, nn

from mmsimclr.checkpoints.encoder_weights import EncoderWeights
from mmsimclr.checkpoints.errors import CheckpointError, UnsupportedEncoderError
from mmsimclr.checkpoints.load import build_encoder
from mmsimclr.checkpoints.record import RECORD_KEY, pack_record
from mmsimclr.encoders import image_side, last_features, pooled
from mmsimclr.errors import needing

# Largest error allowed, as a share of the largest value. Measured with ResNet-152: 5e-6 for the features, in
# which rounding averages out, and 1.1e-5 for the map.
TOLERANCES = {'features': 1e-5, 'map': 1e-4}
PROTOBUF_BYTES = 2**31                                       # the largest message
CHECKED_SIDES = ((1, 96, 128), (5, 75, 97))                  # two batch sizes, even and odd sides


def write_onnx(encoder: EncoderWeights, file: BinaryIO) -> None:
    """Write the encoder as an ONNX graph with any number and size of images.

    The input ``images``, float32 [N, C, H, W], is scaled as the record in the model's metadata says. Outputs
    are ``features`` [N, C], and of an encoder with maps ``map`` [N, C, H/32, W/32] (CIFAR: H/8), whose
    average they are. H and W are fixed where the encoder takes one size only.
    Raise a UserError if a package is missing, the encoder is too large for one file (2 GiB), or onnxruntime's
    results differ from the encoder's by more than ``TOLERANCES``.
    """
    with needing('onnx', 'writing ONNX'):
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    num_bytes = sum(value.numel() * 4 for value in encoder.tensors.values())
    if num_bytes >= PROTOBUF_BYTES:
        raise UnsupportedEncoderError(f'an ONNX file holds at most 2 GiB, and the encoder has {num_bytes} '
                                      "bytes; write 'safetensors'")
    backbone, _ = build_encoder(encoder)
    backbone.warns_of_small_images = False
    model = _PooledEncoder(backbone, len(encoder.input.mean)).eval()
    record = json.dumps(pack_record(encoder, with_neck=False))
    side = image_side(backbone)
    try:
        content = _graph(onnx, model, record, side).SerializeToString()
    except (torch.onnx.OnnxExporterError, ValueError) as error:
        if side or not encoder.input.view_px:
            reason = str(error).strip().partition('\n')[0]
            raise UnsupportedEncoderError(f'torch cannot write {encoder.kind} as ONNX: {reason}') from error
        side = encoder.input.view_px                         # of any size it cannot be written
        content = _graph(onnx, model, record, side).SerializeToString()
    _compare(onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider']), model, side)
    file.write(content)


class _PooledEncoder(nn.Module):
    def __init__(self, backbone: nn.Module, channels: int = 3):
        super().__init__()
        self.backbone = backbone
        self.channels = channels

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        last = last_features(self.backbone, images)          # [N, C, H/32, W/32], or [N, C]
        return (pooled(last), last) if last.ndim == 4 else (last,)


def _graph(onnx: ModuleType, model: _PooledEncoder, record: str, side: int | None):
    """Return the ``onnx.ModelProto`` of a model, of images of any size or this one; with a record."""
    pads_as_tensorflow = getattr(model.backbone, 'stem_pool', None) == 'same'
    if pads_as_tensorflow:
        # Its padding depends on the size, which tracing would fix. ONNX has an attribute for it.
        model.backbone.set_stem_pool('torch')
    free = ((0, 'batch'),) if side else ((0, 'batch'), (2, 'height'), (3, 'width'))
    sizes = {place: torch.export.Dim(name) for place, name in free}
    images = torch.zeros(2, model.channels, *((side, side) if side else (128, 160)))
    with torch.no_grad():
        names = ['features', 'map'][:len(model(images))]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')                      # of torch, about its own parts
        program = torch.onnx.export(
            model, (images,), dynamo=True, verbose=False, external_data=False, input_names=['images'],
            output_names=names, dynamic_shapes=(sizes,))
    if pads_as_tensorflow:
        model.backbone.set_stem_pool('same')
    graph = program.model_proto
    for node in graph.graph.node:
        del node.metadata_props[:]                           # stack traces with this machine's paths
        if pads_as_tensorflow and node.op_type == 'MaxPool':
            kept = [each for each in node.attribute if each.name not in ('auto_pad', 'pads', 'ceil_mode')]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute('auto_pad', 'SAME_UPPER')])
    onnx.helper.set_model_props(graph, {RECORD_KEY: record})
    onnx.checker.check_model(graph)
    return graph


def _compare(session, model: _PooledEncoder, side: int | None = None) -> None:
    """Refuse the graph if onnxruntime does not compute what the encoder does."""
    generator = torch.Generator().manual_seed(0)
    for batch, *sides in CHECKED_SIDES:
        images = torch.randn(batch, model.channels, *((side, side) if side else sides), generator=generator)
        with torch.no_grad():
            expected = model(images)
        outputs = session.run(None, {'images': images.numpy()})
        tolerances = list(TOLERANCES.items())[:len(outputs)]             # without a map, features alone
        for (name, tolerance), want, got in zip(tolerances, expected, outputs, strict=True):
            difference, largest = (want - torch.from_numpy(got)).abs().max(), want.abs().max()
            if not difference <= tolerance * largest:        # also where either is NaN
                raise CheckpointError(
                    f'the ONNX graph differs from the encoder by {difference:.2e} in its {name} of images '
                    f'{list(images.shape)}, the largest of which is {largest:.2e}; nothing was written. '
                    'Another version of torch, onnxscript or onnxruntime may do better')
