"""How each written file is used, for the people who wrote it."""

from pathlib import Path

from mmsimclr.checkpoints.encoder_weights import EncoderWeights
from mmsimclr.checkpoints.export.detectron2_pickle import detectron2_config
from mmsimclr.checkpoints.export.tensor_files import lacking


def openmmlab(encoder: EncoderWeights, path: Path) -> str:
    """Say how a full model is loaded."""
    pretrained = f"dict(type='Pretrained', prefix='backbone.', checkpoint='{path}')"
    return (f"use it as load_from='{path}', or its encoder in a config of mmpretrain, mmdet or mmseg as\n"
            f'  backbone=dict(init_cfg={pretrained}){_only_here(encoder)}')


def openmmlab_backbone(encoder: EncoderWeights, path: Path) -> str:
    """Say how an encoder initialises a model of OpenMMLab."""
    return ('use it in a config of mmpretrain, mmdet or mmseg as\n'
            f"  backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='{path}')){_only_here(encoder)}")


def torchvision(encoder: EncoderWeights, path: Path) -> str:
    """Say how torchvision loads it."""
    return f"""use it with torchvision as
  model = torchvision.models.resnet{encoder.settings['depth']}()
  model.fc = torch.nn.Identity()
  model.load_state_dict(torch.load('{path}', weights_only=True))
{_normalize(encoder)}"""


def timm(encoder: EncoderWeights, path: Path) -> str:
    """Say how timm loads it."""
    return f"""use it with timm as
  model = timm.create_model('resnet{encoder.settings['depth']}', num_classes=0, checkpoint_path='{path}')
{_normalize(encoder)}"""


def detectron2(encoder: EncoderWeights, path: Path) -> str:
    """Give the config that builds the encoder in Detectron2."""
    return ('use it with this in the config; by default the ResNet is of another kind:\n'
            + detectron2_config(encoder, str(path)))


def safetensors(encoder: EncoderWeights, path: Path) -> str:
    """Say how it is read."""
    return f"use it as  state_dict = safetensors.torch.load_file('{path}'){_only_here(encoder)}"


def onnx(encoder: EncoderWeights, path: Path) -> str:
    """Say what goes in and comes out."""
    return f"""use it with onnxruntime as
  session = onnxruntime.InferenceSession('{path}')
  features, = session.run(['features'], {{'images': images}})
images: float32 [N, 3, H, W], RGB; features: [N, C]; a further output, map: [N, C, H/s, W/s]
{_normalize(encoder)}"""


def _normalize(encoder: EncoderWeights) -> str:
    mean, std = (', '.join(f'{value / 255:.6g}' for value in values)
                 for values in (encoder.input.mean, encoder.input.std))
    return f'after scaling images to 0-1 (ToTensor): torchvision.transforms.Normalize([{mean}], [{std}])'


def _only_here(encoder: EncoderWeights) -> str:
    """Warn of what stock ResNets lack, which mmsimclr's reads from the file."""
    lacks = lacking('OpenMMLab', encoder)
    return f"\nonly with mmsimclr's ResNet; another's lacks {'; '.join(lacks)}" if lacks else ''
