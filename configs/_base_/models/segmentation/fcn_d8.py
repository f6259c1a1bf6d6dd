"""FCN on the map of stage 4 at an eighth of the image's size, with a second head on stage 3 (mmseg)."""

from mmseg.models import CrossEntropyLoss, EncoderDecoder, FCNHead, SegDataPreProcessor

from mmsimclr.models import DownstreamResNet

norm_cfg = dict(type='BN', requires_grad=True)
# The encoder's architecture and channels, the scale of its images and the classes come from the checkpoint
# and the data.
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(type=SegDataPreProcessor, bgr_to_rgb=True, pad_val=0, seg_pad_val=255),
    backbone=dict(type=DownstreamResNet, out_indices=(0, 1, 2, 3), output_stride=8),
    decode_head=dict(
        type=FCNHead,
        in_index=3,
        channels=512,
        num_convs=2,
        concat_input=True,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type=CrossEntropyLoss, use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type=FCNHead,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type=CrossEntropyLoss, use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
