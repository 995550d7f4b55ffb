"""Networks of torchvision's zoo, trained on ImageNet-1k, with their official preprocessing.

Weights are torchvision's first release of each network (`IMAGENET1K_V1`): the published numbers of the field
were made with them, and later releases differ in recipe (longer training, heavier augmentation), not only in
accuracy. They come from the addresses that torchvision itself lists, whose file names carry their hashes.

Default layers are the ends of blocks or stages, from input to output: what follows pooling or rectification
in AlexNet, VGG and SqueezeNet (`features.2` of AlexNet is pool1, `classifier.2` is relu6, `classifier.6` is
fc8), every residual or transformer block, and every inception or dense block. Stems are taken after their
pooling. Blocks of ResNet, ResNeXt and RegNet end with a rectification; those of MobileNet, MNASNet, EfficientNet,
ConvNeXt, ViT and Swin do not. Tokens of ViT are (stimulus, token, channel) with the class token first; Swin
has (stimulus, row, column, channel), all others (stimulus, channel, row, column).

No rectification is a module that works in place, so a convolution's output is what it says, before rectification.
Functions in torchvision's code still overwrite `bn` in GoogLeNet and Inception, `bn2` or `bn3` at the end of a
residual block and `features.norm5` in DenseNet, right after these were put out and `lib.activations` copied them.
"""

import re

from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode, functional

from lib import weights
from lib.models import frozen

MODALITY = "vision"
SCORES = "output"
CLASSES = "imagenet"
TIME_AXIS = None
CONTROLS = ("permuted", "random")
BUNDLED = False
LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet, whose terms allow research that is not commercial"
RELEASE = "IMAGENET1K_V1"
OPTIONS = {}
INPUT = {
    "resize": 256,
    "size": 224,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}

# Old files call a dense layer's parts `norm.1`; classifiers for training only are left out.
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
_AUXILIARY = re.compile(r"(aux\d|AuxLogits)\.")
_DENSE_LAYER = re.compile(r"denselayer\d+$")

# fmt: off
VARIANTS = {
    "alexnet": {
        "LABEL": "AlexNet", "COLOUR": "#c6412f",
        "CITATION": "Krizhevsky (2014), One weird trick for parallelizing CNNs, arXiv:1404.5997",
        "LAYERS": (
            "features.2", "features.5", "features.7", "features.9", "features.12", "classifier.2",
            "classifier.5", "classifier.6",
        ),
    },
    "vgg11": {
        "LABEL": "VGG-11", "COLOUR": "#886120",
        "CITATION": "Simonyan & Zisserman (2015), ICLR, arXiv:1409.1556",
        "LAYERS": (
            "features.2", "features.5", "features.10", "features.15", "features.20", "classifier.1",
            "classifier.4", "classifier.6",
        ),
    },
    "vgg13": {
        "LABEL": "VGG-13", "COLOUR": "#b27e2a",
        "CITATION": "Simonyan & Zisserman (2015), ICLR, arXiv:1409.1556",
        "LAYERS": (
            "features.4", "features.9", "features.14", "features.19", "features.24", "classifier.1",
            "classifier.4", "classifier.6",
        ),
    },
    "vgg16": {
        "LABEL": "VGG-16", "COLOUR": "#d1993d",
        "CITATION": "Simonyan & Zisserman (2015), ICLR, arXiv:1409.1556",
        "LAYERS": (
            "features.4", "features.9", "features.16", "features.23", "features.30", "classifier.1",
            "classifier.4", "classifier.6",
        ),
    },
    "vgg19": {
        "LABEL": "VGG-19", "COLOUR": "#dbaf66",
        "CITATION": "Simonyan & Zisserman (2015), ICLR, arXiv:1409.1556",
        "LAYERS": (
            "features.4", "features.9", "features.18", "features.27", "features.36", "classifier.1",
            "classifier.4", "classifier.6",
        ),
    },
    "resnet18": {
        "LABEL": "ResNet-18", "COLOUR": "#747f1e",
        "CITATION": "He, Zhang, Ren & Sun (2016), CVPR, doi:10.1109/CVPR.2016.90",
        "LAYERS": (
            "maxpool", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0",
            "layer4.1", "avgpool", "fc",
        ),
    },
    "resnet34": {
        "LABEL": "ResNet-34", "COLOUR": "#899723",
        "CITATION": "He, Zhang, Ren & Sun (2016), CVPR, doi:10.1109/CVPR.2016.90",
        "LAYERS": (
            "maxpool", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2", "layer2.3",
            "layer3.0", "layer3.1", "layer3.2", "layer3.3", "layer3.4", "layer3.5", "layer4.0", "layer4.1",
            "layer4.2", "avgpool", "fc",
        ),
    },
    "resnet50": {
        "LABEL": "ResNet-50", "COLOUR": "#9faf29",
        "CITATION": "He, Zhang, Ren & Sun (2016), CVPR, doi:10.1109/CVPR.2016.90",
        "LAYERS": (
            "maxpool", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2", "layer2.3",
            "layer3.0", "layer3.1", "layer3.2", "layer3.3", "layer3.4", "layer3.5", "layer4.0", "layer4.1",
            "layer4.2", "avgpool", "fc",
        ),
    },
    "resnet101": {
        "LABEL": "ResNet-101", "COLOUR": "#b4c62f",
        "CITATION": "He, Zhang, Ren & Sun (2016), CVPR, doi:10.1109/CVPR.2016.90",
        "LAYERS": (
            "maxpool", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2", "layer2.3",
            "layer3.0", "layer3.1", "layer3.2", "layer3.3", "layer3.4", "layer3.5", "layer3.6", "layer3.7",
            "layer3.8", "layer3.9", "layer3.10", "layer3.11", "layer3.12", "layer3.13", "layer3.14",
            "layer3.15", "layer3.16", "layer3.17", "layer3.18", "layer3.19", "layer3.20", "layer3.21",
            "layer3.22", "layer4.0", "layer4.1", "layer4.2", "avgpool", "fc",
        ),
    },
    "resnet152": {
        "LABEL": "ResNet-152", "COLOUR": "#c1d240",
        "CITATION": "He, Zhang, Ren & Sun (2016), CVPR, doi:10.1109/CVPR.2016.90",
        "LAYERS": (
            "maxpool", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2", "layer2.3",
            "layer2.4", "layer2.5", "layer2.6", "layer2.7", "layer3.0", "layer3.1", "layer3.2", "layer3.3",
            "layer3.4", "layer3.5", "layer3.6", "layer3.7", "layer3.8", "layer3.9", "layer3.10",
            "layer3.11", "layer3.12", "layer3.13", "layer3.14", "layer3.15", "layer3.16", "layer3.17",
            "layer3.18", "layer3.19", "layer3.20", "layer3.21", "layer3.22", "layer3.23", "layer3.24",
            "layer3.25", "layer3.26", "layer3.27", "layer3.28", "layer3.29", "layer3.30", "layer3.31",
            "layer3.32", "layer3.33", "layer3.34", "layer3.35", "layer4.0", "layer4.1", "layer4.2",
            "avgpool", "fc",
        ),
    },
    "resnext50_32x4d": {
        "LABEL": "ResNeXt-50 32x4d", "COLOUR": "#c8d857",
        "CITATION": "Xie, Girshick, Dollár, Tu & He (2017), CVPR, doi:10.1109/CVPR.2017.634",
        "LAYERS": (
            "maxpool", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2", "layer2.3",
            "layer3.0", "layer3.1", "layer3.2", "layer3.3", "layer3.4", "layer3.5", "layer4.0", "layer4.1",
            "layer4.2", "avgpool", "fc",
        ),
    },
    "wide_resnet50_2": {
        "LABEL": "Wide ResNet-50-2", "COLOUR": "#d0dd6f",
        "CITATION": "Zagoruyko & Komodakis (2016), BMVC, arXiv:1605.07146",
        "LAYERS": (
            "maxpool", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2", "layer2.3",
            "layer3.0", "layer3.1", "layer3.2", "layer3.3", "layer3.4", "layer3.5", "layer4.0", "layer4.1",
            "layer4.2", "avgpool", "fc",
        ),
    },
    "squeezenet1_0": {
        "LABEL": "SqueezeNet 1.0", "COLOUR": "#529d25",
        "CITATION": "Iandola et al. (2016), arXiv:1602.07360",
        "LAYERS": (
            "features.2", "features.3", "features.4", "features.5", "features.7", "features.8",
            "features.9", "features.10", "features.12", "classifier.3",
        ),
    },
    "squeezenet1_1": {
        "LABEL": "SqueezeNet 1.1", "COLOUR": "#84d651",
        "CITATION": "Iandola et al. (2016), arXiv:1602.07360",
        "LAYERS": (
            "features.2", "features.3", "features.4", "features.6", "features.7", "features.9",
            "features.10", "features.11", "features.12", "classifier.3",
        ),
    },
    "densenet121": {
        "LABEL": "DenseNet-121", "COLOUR": "#20882c",
        "CITATION": "Huang, Liu, van der Maaten & Weinberger (2017), CVPR, doi:10.1109/CVPR.2017.243",
        "LAYERS": (
            "features.pool0", "features.denseblock1", "features.transition1", "features.denseblock2",
            "features.transition2", "features.denseblock3", "features.transition3", "features.denseblock4",
            "classifier",
        ),
    },
    "densenet161": {
        "LABEL": "DenseNet-161", "COLOUR": "#2ab23a",
        "CITATION": "Huang, Liu, van der Maaten & Weinberger (2017), CVPR, doi:10.1109/CVPR.2017.243",
        "LAYERS": (
            "features.pool0", "features.denseblock1", "features.transition1", "features.denseblock2",
            "features.transition2", "features.denseblock3", "features.transition3", "features.denseblock4",
            "classifier",
        ),
    },
    "densenet169": {
        "LABEL": "DenseNet-169", "COLOUR": "#3dd14f",
        "CITATION": "Huang, Liu, van der Maaten & Weinberger (2017), CVPR, doi:10.1109/CVPR.2017.243",
        "LAYERS": (
            "features.pool0", "features.denseblock1", "features.transition1", "features.denseblock2",
            "features.transition2", "features.denseblock3", "features.transition3", "features.denseblock4",
            "classifier",
        ),
    },
    "densenet201": {
        "LABEL": "DenseNet-201", "COLOUR": "#66db74",
        "CITATION": "Huang, Liu, van der Maaten & Weinberger (2017), CVPR, doi:10.1109/CVPR.2017.243",
        "LAYERS": (
            "features.pool0", "features.denseblock1", "features.transition1", "features.denseblock2",
            "features.transition2", "features.denseblock3", "features.transition3", "features.denseblock4",
            "classifier",
        ),
    },
    "googlenet": {
        "LABEL": "GoogLeNet", "COLOUR": "#259d6f",
        "CITATION": "Szegedy et al. (2015), CVPR, doi:10.1109/CVPR.2015.7298594",
        "LAYERS": (
            "maxpool1", "maxpool2", "inception3a", "inception3b", "inception4a", "inception4b",
            "inception4c", "inception4d", "inception4e", "inception5a", "inception5b", "avgpool", "fc",
        ),
        "OPTIONS": {"aux_logits": False, "transform_input": True, "init_weights": False},
    },
    "inception_v3": {
        "LABEL": "Inception v3", "COLOUR": "#51d6a4",
        "CITATION": "Szegedy et al. (2016), CVPR, doi:10.1109/CVPR.2016.308",
        "LAYERS": (
            "maxpool1", "maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c",
            "Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c", "avgpool", "fc",
        ),
        "INPUT": {"resize": 342, "size": 299, "interpolation": "bilinear",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        "OPTIONS": {"aux_logits": False, "transform_input": True, "init_weights": False},
    },
    "mobilenet_v2": {
        "LABEL": "MobileNet v2", "COLOUR": "#207c88",
        "CITATION": "Sandler et al. (2018), CVPR, doi:10.1109/CVPR.2018.00474",
        "LAYERS": (
            "features.0", "features.1", "features.2", "features.3", "features.4", "features.5",
            "features.6", "features.7", "features.8", "features.9", "features.10", "features.11",
            "features.12", "features.13", "features.14", "features.15", "features.16", "features.17",
            "features.18", "classifier.1",
        ),
    },
    "mobilenet_v3_large": {
        "LABEL": "MobileNet v3 large", "COLOUR": "#2aa1b2",
        "CITATION": "Howard et al. (2019), ICCV, doi:10.1109/ICCV.2019.00140",
        "LAYERS": (
            "features.0", "features.1", "features.2", "features.3", "features.4", "features.5",
            "features.6", "features.7", "features.8", "features.9", "features.10", "features.11",
            "features.12", "features.13", "features.14", "features.15", "features.16", "avgpool",
            "classifier.3",
        ),
    },
    "mnasnet1_0": {
        "LABEL": "MNASNet 1.0", "COLOUR": "#3dc0d1",
        "CITATION": "Tan et al. (2019), CVPR, doi:10.1109/CVPR.2019.00293",
        "LAYERS": (
            "layers.2", "layers.7", "layers.8", "layers.9", "layers.10", "layers.11", "layers.12",
            "layers.13", "layers.16", "classifier.1",
        ),
    },
    "shufflenet_v2_x1_0": {
        "LABEL": "ShuffleNet v2 1.0", "COLOUR": "#66cddb",
        "CITATION": "Ma, Zhang, Zheng & Sun (2018), ECCV, doi:10.1007/978-3-030-01264-9_8",
        "LAYERS": (
            "maxpool", "stage2.0", "stage2.1", "stage2.2", "stage2.3", "stage3.0", "stage3.1", "stage3.2",
            "stage3.3", "stage3.4", "stage3.5", "stage3.6", "stage3.7", "stage4.0", "stage4.1", "stage4.2",
            "stage4.3", "conv5", "fc",
        ),
    },
    "efficientnet_b0": {
        "LABEL": "EfficientNet-B0", "COLOUR": "#25529d",
        "CITATION": "Tan & Le (2019), ICML, arXiv:1905.11946",
        "LAYERS": (
            "features.0", "features.1", "features.2", "features.3", "features.4", "features.5",
            "features.6", "features.7", "features.8", "avgpool", "classifier.1",
        ),
        "INPUT": {"resize": 256, "size": 224, "interpolation": "bicubic",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    },
    "efficientnet_v2_s": {
        "LABEL": "EfficientNet v2 S", "COLOUR": "#5184d6",
        "CITATION": "Tan & Le (2021), ICML, arXiv:2104.00298",
        "LAYERS": (
            "features.0", "features.1", "features.2", "features.3", "features.4", "features.5",
            "features.6", "features.7", "avgpool", "classifier.1",
        ),
        "INPUT": {"resize": 384, "size": 384, "interpolation": "bilinear",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    },
    "regnet_y_400mf": {
        "LABEL": "RegNetY 400 MF", "COLOUR": "#33259d",
        "CITATION": "Radosavovic et al. (2020), CVPR, doi:10.1109/CVPR42600.2020.01044",
        "LAYERS": (
            "stem", "trunk_output.block1.block1-0", "trunk_output.block2.block2-0",
            "trunk_output.block2.block2-1", "trunk_output.block2.block2-2", "trunk_output.block3.block3-0",
            "trunk_output.block3.block3-1", "trunk_output.block3.block3-2", "trunk_output.block3.block3-3",
            "trunk_output.block3.block3-4", "trunk_output.block3.block3-5", "trunk_output.block4.block4-0",
            "trunk_output.block4.block4-1", "trunk_output.block4.block4-2", "trunk_output.block4.block4-3",
            "trunk_output.block4.block4-4", "trunk_output.block4.block4-5", "avgpool", "fc",
        ),
    },
    "regnet_y_8gf": {
        "LABEL": "RegNetY 8 GF", "COLOUR": "#6151d6",
        "CITATION": "Radosavovic et al. (2020), CVPR, doi:10.1109/CVPR42600.2020.01044",
        "LAYERS": (
            "stem", "trunk_output.block1.block1-0", "trunk_output.block1.block1-1",
            "trunk_output.block2.block2-0", "trunk_output.block2.block2-1", "trunk_output.block2.block2-2",
            "trunk_output.block2.block2-3", "trunk_output.block3.block3-0", "trunk_output.block3.block3-1",
            "trunk_output.block3.block3-2", "trunk_output.block3.block3-3", "trunk_output.block3.block3-4",
            "trunk_output.block3.block3-5", "trunk_output.block3.block3-6", "trunk_output.block3.block3-7",
            "trunk_output.block3.block3-8", "trunk_output.block3.block3-9", "trunk_output.block4.block4-0",
            "avgpool", "fc",
        ),
    },
    "convnext_tiny": {
        "LABEL": "ConvNeXt-T", "COLOUR": "#6f259d",
        "CITATION": "Liu et al. (2022), CVPR, doi:10.1109/CVPR52688.2022.01167",
        "LAYERS": (
            "features.0", "features.1.0", "features.1.1", "features.1.2", "features.3.0", "features.3.1",
            "features.3.2", "features.5.0", "features.5.1", "features.5.2", "features.5.3", "features.5.4",
            "features.5.5", "features.5.6", "features.5.7", "features.5.8", "features.7.0", "features.7.1",
            "features.7.2", "avgpool", "classifier.2",
        ),
        "INPUT": {"resize": 236, "size": 224, "interpolation": "bilinear",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    },
    "convnext_base": {
        "LABEL": "ConvNeXt-B", "COLOUR": "#a451d6",
        "CITATION": "Liu et al. (2022), CVPR, doi:10.1109/CVPR52688.2022.01167",
        "LAYERS": (
            "features.0", "features.1.0", "features.1.1", "features.1.2", "features.3.0", "features.3.1",
            "features.3.2", "features.5.0", "features.5.1", "features.5.2", "features.5.3", "features.5.4",
            "features.5.5", "features.5.6", "features.5.7", "features.5.8", "features.5.9", "features.5.10",
            "features.5.11", "features.5.12", "features.5.13", "features.5.14", "features.5.15",
            "features.5.16", "features.5.17", "features.5.18", "features.5.19", "features.5.20",
            "features.5.21", "features.5.22", "features.5.23", "features.5.24", "features.5.25",
            "features.5.26", "features.7.0", "features.7.1", "features.7.2", "avgpool", "classifier.2",
        ),
        "INPUT": {"resize": 232, "size": 224, "interpolation": "bilinear",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    },
    "vit_b_16": {
        "LABEL": "ViT-B/16", "COLOUR": "#8f2282",
        "CITATION": "Dosovitskiy et al. (2021), ICLR, arXiv:2010.11929",
        "LAYERS": (
            "conv_proj", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1",
            "encoder.layers.encoder_layer_2", "encoder.layers.encoder_layer_3",
            "encoder.layers.encoder_layer_4", "encoder.layers.encoder_layer_5",
            "encoder.layers.encoder_layer_6", "encoder.layers.encoder_layer_7",
            "encoder.layers.encoder_layer_8", "encoder.layers.encoder_layer_9",
            "encoder.layers.encoder_layer_10", "encoder.layers.encoder_layer_11", "heads.head",
        ),
    },
    "vit_b_32": {
        "LABEL": "ViT-B/32", "COLOUR": "#c62fb4",
        "CITATION": "Dosovitskiy et al. (2021), ICLR, arXiv:2010.11929",
        "LAYERS": (
            "conv_proj", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1",
            "encoder.layers.encoder_layer_2", "encoder.layers.encoder_layer_3",
            "encoder.layers.encoder_layer_4", "encoder.layers.encoder_layer_5",
            "encoder.layers.encoder_layer_6", "encoder.layers.encoder_layer_7",
            "encoder.layers.encoder_layer_8", "encoder.layers.encoder_layer_9",
            "encoder.layers.encoder_layer_10", "encoder.layers.encoder_layer_11", "heads.head",
        ),
    },
    "vit_l_16": {
        "LABEL": "ViT-L/16", "COLOUR": "#da5fcb",
        "CITATION": "Dosovitskiy et al. (2021), ICLR, arXiv:2010.11929",
        "LAYERS": (
            "conv_proj", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1",
            "encoder.layers.encoder_layer_2", "encoder.layers.encoder_layer_3",
            "encoder.layers.encoder_layer_4", "encoder.layers.encoder_layer_5",
            "encoder.layers.encoder_layer_6", "encoder.layers.encoder_layer_7",
            "encoder.layers.encoder_layer_8", "encoder.layers.encoder_layer_9",
            "encoder.layers.encoder_layer_10", "encoder.layers.encoder_layer_11",
            "encoder.layers.encoder_layer_12", "encoder.layers.encoder_layer_13",
            "encoder.layers.encoder_layer_14", "encoder.layers.encoder_layer_15",
            "encoder.layers.encoder_layer_16", "encoder.layers.encoder_layer_17",
            "encoder.layers.encoder_layer_18", "encoder.layers.encoder_layer_19",
            "encoder.layers.encoder_layer_20", "encoder.layers.encoder_layer_21",
            "encoder.layers.encoder_layer_22", "encoder.layers.encoder_layer_23", "heads.head",
        ),
        "INPUT": {"resize": 242, "size": 224, "interpolation": "bilinear",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    },
    "swin_t": {
        "LABEL": "Swin-T", "COLOUR": "#9d2552",
        "CITATION": "Liu et al. (2021), ICCV, doi:10.1109/ICCV48922.2021.00986",
        "LAYERS": (
            "features.0", "features.1.0", "features.1.1", "features.3.0", "features.3.1", "features.5.0",
            "features.5.1", "features.5.2", "features.5.3", "features.5.4", "features.5.5", "features.7.0",
            "features.7.1", "avgpool", "head",
        ),
        "INPUT": {"resize": 232, "size": 224, "interpolation": "bicubic",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    },
    "swin_b": {
        "LABEL": "Swin-B", "COLOUR": "#d65184",
        "CITATION": "Liu et al. (2021), ICCV, doi:10.1109/ICCV48922.2021.00986",
        "LAYERS": (
            "features.0", "features.1.0", "features.1.1", "features.3.0", "features.3.1", "features.5.0",
            "features.5.1", "features.5.2", "features.5.3", "features.5.4", "features.5.5", "features.5.6",
            "features.5.7", "features.5.8", "features.5.9", "features.5.10", "features.5.11",
            "features.5.12", "features.5.13", "features.5.14", "features.5.15", "features.5.16",
            "features.5.17", "features.7.0", "features.7.1", "avgpool", "head",
        ),
        "INPUT": {"resize": 238, "size": 224, "interpolation": "bicubic",
                  "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    },
}
# fmt: on


def build(name, *, trained=True):
    """A network of the zoo.

    GoogLeNet and Inception undo the ImageNet normalisation of their input themselves, as their weights ask
    for, trained or not; their auxiliary classifiers are left out. In DenseNet what a dense layer is given, all
    maps of its block so far, is put out by a module of its own, `denselayer2.norm1.concat`.

    Parameters
    ----------
    name : str
        A key of VARIANTS; torchvision's own name.
    trained : bool
        Whether to fetch the weights and load them; without, they are torchvision's initial ones.

    Returns
    -------
    torch.nn.Module
        From (batch, 3, row, column) to class scores (batch, 1000) before any softmax.

    Raises
    ------
    ValueError, lib.download.DownloadError
        If weights are wanted and damaged, or cannot be had.
    """
    module = models.get_model(name, weights=None, **VARIANTS[name].get("OPTIONS", OPTIONS))
    if trained:
        url = models.get_model_weights(name)[RELEASE].url
        weights.into(module, weights.state(url), rename=_renamed)
    for part in list(module.modules()):
        if getattr(part, "inplace", False):
            part.inplace = False
    _show_concatenations(module)
    return frozen(module)


def preprocess(stimulus, settings):
    """Picture as the network takes it, bit for bit as torchvision's own transforms give it.

    Resized so that its shorter side is `resize`, cut to the central square of `size`, scaled to 0 to 1,
    centred by `mean` and divided by `std`.

    Parameters
    ----------
    stimulus : uint8 array (height, width, 3)
        RGB.
    settings : dict
        INPUT of a variant.

    Returns
    -------
    float32 tensor (3, size, size)
        Without unit, about -2 to 2.7.
    """
    picture = functional.resize(
        Image.fromarray(stimulus), [settings["resize"]], InterpolationMode(settings["interpolation"])
    )
    pixels = functional.to_tensor(functional.center_crop(picture, [settings["size"]]))
    return functional.normalize(pixels, settings["mean"], settings["std"])


def _renamed(name):
    """The module's name of a stored tensor; None for what only training needs."""
    return None if _AUXILIARY.match(name) else _DOTTED.sub(r"\1\2", name)


def _show_concatenations(module):
    """Let each dense layer put out what it is given."""
    for name, part in list(module.named_modules()):
        if _DENSE_LAYER.search(name):
            shown = nn.Sequential()
            shown.add_module("concat", nn.Identity())
            shown.add_module("norm", part.norm1)
            part.norm1 = shown
