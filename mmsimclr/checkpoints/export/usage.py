"""Instructions for using a written file."""

from pathlib import Path

from mmsimclr.checkpoints.encoder_weights import EncoderWeights
from mmsimclr.checkpoints.export.detectron2_pickle import detectron2_config
from mmsimclr.checkpoints.export.tensor_files import lacking

USAGE = {
    'openmmlab': """use it as load_from='{path}', or its encoder in a config of mmpretrain, mmdet or mmseg as
  backbone=dict(init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint='{path}')){only_here}""",
    'openmmlab-backbone': """use it in a config of mmpretrain, mmdet or mmseg as
  backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='{path}')){only_here}""",
    'torchvision': """use it with torchvision as
  model = torchvision.models.resnet{depth}()
  model.fc = torch.nn.Identity()
  model.load_state_dict(torch.load('{path}', weights_only=True))
{normalize}""",
    'timm': """use it with timm as
  model = timm.create_model('resnet{depth}', num_classes=0, checkpoint_path='{path}')
{normalize}""",
    'detectron2': """use it with this in the config; by default the ResNet is of another kind:
{detectron2_config}""",
    'safetensors': "use it as  state_dict = safetensors.torch.load_file('{path}'){only_here}",
    'onnx': """use it with onnxruntime as
  session = onnxruntime.InferenceSession('{path}')
  features, = session.run(['features'], {{'images': images}})
images: float32 [N, 3, H, W], RGB; features: [N, C]; a further output, map: [N, C, H/s, W/s]
{normalize}""",
}


def usage(encoder: EncoderWeights, path: Path, to: str) -> str:
    """Return the lines that load a file of format ``to``, and what other ResNets lack to run its encoder."""
    lacks = lacking('OpenMMLab', encoder)
    mean, std = (', '.join(f'{value / 255:.6g}' for value in values)
                 for values in (encoder.input.mean, encoder.input.std))
    return USAGE[to].format(
        path=path, depth=encoder.settings['depth'], detectron2_config=detectron2_config(encoder, str(path)),
        only_here=f"\nonly with mmsimclr's ResNet; another's lacks {'; '.join(lacks)}" if lacks else '',
        normalize='after scaling images to 0-1 (ToTensor): '
                  f'torchvision.transforms.Normalize([{mean}], [{std}])')
