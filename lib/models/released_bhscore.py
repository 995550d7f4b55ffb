"""The 29 networks of the brain hierarchy score: released features of 1250 images, at most 1000 units of a layer.

Units were drawn by the authors. Layers are called as in the release, in the order of the paper's settings.
"""

from lib import download, featurefiles, locked, plugins, released

MODALITY = "vision"
RELEASED = True
WITHOUT = ("metamers",)  # which need the network itself
TARGETS = ("deeprecon",)
TIME_AXIS = None
CONTROLS = ()
BUNDLED = False
LICENCE = "as stated on the figshare page of the features (12401168); cite the paper"
CITATION = (
    "Nonaka, Majima, Aoki & Kamitani (2021). Brain hierarchy score: which deep neural networks are hierarchically "
    "brain-like? iScience 24, 103013. doi:10.1016/j.isci.2021.103013"
)
INPUT = {}
# Features of the training and of the test images, by framework: number on figshare, bytes as announced.
SOURCES = {
    "caffe": {"24172706": 4065000000, "24172679": 169000000},
    "pytorch": {"24172862": 278000000, "24172691": 12000000},
    "tensorflow": {"24172895": 2185000000, "24172697": 91000000},
}
# NETWORK is the folder of the release.
# fmt: off
VARIANTS = {
    "released_alexnet": {
        "LABEL": "AlexNet (released)", "COLOUR": "#7a1f1f", "NETWORK": "caffe/AlexNet",
        "LAYERS": (
            "conv1_abs", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8",
        ),
    },
    "released_vgg_f": {
        "LABEL": "VGG-F (released)", "COLOUR": "#279b49", "NETWORK": "caffe/VGG-F",
        "LAYERS": (
            "conv1_abs", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8",
        ),
    },
    "released_vgg_m": {
        "LABEL": "VGG-M (released)", "COLOUR": "#812fbc", "NETWORK": "caffe/VGG-M",
        "LAYERS": (
            "conv1_abs", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8",
        ),
    },
    "released_vgg_s": {
        "LABEL": "VGG-S (released)", "COLOUR": "#d0bf43", "NETWORK": "caffe/VGG-S",
        "LAYERS": (
            "conv1_abs", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8",
        ),
    },
    "released_vgg_16": {
        "LABEL": "VGG-16 (released)", "COLOUR": "#1f6b7a", "NETWORK": "caffe/VGG16_nonaka",
        "LAYERS": (
            "conv1_1_abs", "pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "fc7", "fc8",
        ),
    },
    "released_vgg_19": {
        "LABEL": "VGG-19 (released)", "COLOUR": "#9b2766", "NETWORK": "caffe/VGG19_nonaka",
        "LAYERS": (
            "conv1_1_abs", "pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "fc7", "fc8",
        ),
    },
    "released_densenet_121": {
        "LABEL": "DenseNet-121 (released)", "COLOUR": "#52bc2f", "NETWORK": "caffe/DenseNet_121",
        "LAYERS": (
            "conv1_abs", "concat_2_1", "concat_2_2", "concat_2_3", "concat_2_4", "concat_2_5", "concat_2_6",
            "concat_3_1", "concat_3_2", "concat_3_3", "concat_3_4", "concat_3_5", "concat_3_6", "concat_3_7",
            "concat_3_8", "concat_3_9", "concat_3_10", "concat_3_11", "concat_3_12", "concat_4_1",
            "concat_4_2", "concat_4_3", "concat_4_4", "concat_4_5", "concat_4_6", "concat_4_7", "concat_4_8",
            "concat_4_9", "concat_4_10", "concat_4_11", "concat_4_12", "concat_4_13", "concat_4_14",
            "concat_4_15", "concat_4_16", "concat_4_17", "concat_4_18", "concat_4_19", "concat_4_20",
            "concat_4_21", "concat_4_22", "concat_4_23", "concat_4_24", "concat_5_1", "concat_5_2",
            "concat_5_3", "concat_5_4", "concat_5_5", "concat_5_6", "concat_5_7", "concat_5_8", "concat_5_9",
            "concat_5_10", "concat_5_11", "concat_5_12", "concat_5_13", "concat_5_14", "concat_5_15",
            "concat_5_16", "fc6",
        ),
    },
    "released_densenet_161": {
        "LABEL": "DenseNet-161 (released)", "COLOUR": "#4943d0", "NETWORK": "caffe/DenseNet_161",
        "LAYERS": (
            "conv1_abs", "concat_2_1", "concat_2_2", "concat_2_3", "concat_2_4", "concat_2_5", "concat_2_6",
            "concat_3_1", "concat_3_2", "concat_3_3", "concat_3_4", "concat_3_5", "concat_3_6", "concat_3_7",
            "concat_3_8", "concat_3_9", "concat_3_10", "concat_3_11", "concat_3_12", "concat_4_1",
            "concat_4_2", "concat_4_3", "concat_4_4", "concat_4_5", "concat_4_6", "concat_4_7", "concat_4_8",
            "concat_4_9", "concat_4_10", "concat_4_11", "concat_4_12", "concat_4_13", "concat_4_14",
            "concat_4_15", "concat_4_16", "concat_4_17", "concat_4_18", "concat_4_19", "concat_4_20",
            "concat_4_21", "concat_4_22", "concat_4_23", "concat_4_24", "concat_4_25", "concat_4_26",
            "concat_4_27", "concat_4_28", "concat_4_29", "concat_4_30", "concat_4_31", "concat_4_32",
            "concat_4_33", "concat_4_34", "concat_4_35", "concat_4_36", "concat_5_1", "concat_5_2",
            "concat_5_3", "concat_5_4", "concat_5_5", "concat_5_6", "concat_5_7", "concat_5_8", "concat_5_9",
            "concat_5_10", "concat_5_11", "concat_5_12", "concat_5_13", "concat_5_14", "concat_5_15",
            "concat_5_16", "concat_5_17", "concat_5_18", "concat_5_19", "concat_5_20", "concat_5_21",
            "concat_5_22", "concat_5_23", "concat_5_24", "fc6",
        ),
    },
    "released_densenet_169": {
        "LABEL": "DenseNet-169 (released)", "COLOUR": "#7a3d1f", "NETWORK": "caffe/DenseNet_169",
        "LAYERS": (
            "conv1_abs", "concat_2_1", "concat_2_2", "concat_2_3", "concat_2_4", "concat_2_5", "concat_2_6",
            "concat_3_1", "concat_3_2", "concat_3_3", "concat_3_4", "concat_3_5", "concat_3_6", "concat_3_7",
            "concat_3_8", "concat_3_9", "concat_3_10", "concat_3_11", "concat_3_12", "concat_4_1",
            "concat_4_2", "concat_4_3", "concat_4_4", "concat_4_5", "concat_4_6", "concat_4_7", "concat_4_8",
            "concat_4_9", "concat_4_10", "concat_4_11", "concat_4_12", "concat_4_13", "concat_4_14",
            "concat_4_15", "concat_4_16", "concat_4_17", "concat_4_18", "concat_4_19", "concat_4_20",
            "concat_4_21", "concat_4_22", "concat_4_23", "concat_4_24", "concat_4_25", "concat_4_26",
            "concat_4_27", "concat_4_28", "concat_4_29", "concat_4_30", "concat_4_31", "concat_4_32",
            "concat_5_1", "concat_5_2", "concat_5_3", "concat_5_4", "concat_5_5", "concat_5_6", "concat_5_7",
            "concat_5_8", "concat_5_9", "concat_5_10", "concat_5_11", "concat_5_12", "concat_5_13",
            "concat_5_14", "concat_5_15", "concat_5_16", "concat_5_17", "concat_5_18", "concat_5_19",
            "concat_5_20", "concat_5_21", "concat_5_22", "concat_5_23", "concat_5_24", "concat_5_25",
            "concat_5_26", "concat_5_27", "concat_5_28", "concat_5_29", "concat_5_30", "concat_5_31",
            "concat_5_32", "fc6",
        ),
    },
    "released_densenet_201": {
        "LABEL": "DenseNet-201 (released)", "COLOUR": "#279b70", "NETWORK": "caffe/DenseNet_201",
        "LAYERS": (
            "conv1_abs", "concat_2_1", "concat_2_2", "concat_2_3", "concat_2_4", "concat_2_5", "concat_2_6",
            "concat_3_1", "concat_3_2", "concat_3_3", "concat_3_4", "concat_3_5", "concat_3_6", "concat_3_7",
            "concat_3_8", "concat_3_9", "concat_3_10", "concat_3_11", "concat_3_12", "concat_4_1",
            "concat_4_2", "concat_4_3", "concat_4_4", "concat_4_5", "concat_4_6", "concat_4_7", "concat_4_8",
            "concat_4_9", "concat_4_10", "concat_4_11", "concat_4_12", "concat_4_13", "concat_4_14",
            "concat_4_15", "concat_4_16", "concat_4_17", "concat_4_18", "concat_4_19", "concat_4_20",
            "concat_4_21", "concat_4_22", "concat_4_23", "concat_4_24", "concat_4_25", "concat_4_26",
            "concat_4_27", "concat_4_28", "concat_4_29", "concat_4_30", "concat_4_31", "concat_4_32",
            "concat_4_33", "concat_4_34", "concat_4_35", "concat_4_36", "concat_4_37", "concat_4_38",
            "concat_4_39", "concat_4_40", "concat_4_41", "concat_4_42", "concat_4_43", "concat_4_44",
            "concat_4_45", "concat_4_46", "concat_4_47", "concat_4_48", "concat_5_1", "concat_5_2",
            "concat_5_3", "concat_5_4", "concat_5_5", "concat_5_6", "concat_5_7", "concat_5_8", "concat_5_9",
            "concat_5_10", "concat_5_11", "concat_5_12", "concat_5_13", "concat_5_14", "concat_5_15",
            "concat_5_16", "concat_5_17", "concat_5_18", "concat_5_19", "concat_5_20", "concat_5_21",
            "concat_5_22", "concat_5_23", "concat_5_24", "concat_5_25", "concat_5_26", "concat_5_27",
            "concat_5_28", "concat_5_29", "concat_5_30", "concat_5_31", "fc6",
        ),
    },
    "released_resnet_50_v2": {
        "LABEL": "ResNet-50-v2 (released)", "COLOUR": "#b02fbc", "NETWORK": "tensorflow/resnet_v2_50",
        "LAYERS": (
            "resnet_v2_50:conv1_abs", "resnet_v2_50:block1:unit_1:bottleneck_v2",
            "resnet_v2_50:block1:unit_2:bottleneck_v2", "resnet_v2_50:block1:unit_3:bottleneck_v2",
            "resnet_v2_50:block2:unit_1:bottleneck_v2", "resnet_v2_50:block2:unit_2:bottleneck_v2",
            "resnet_v2_50:block2:unit_3:bottleneck_v2", "resnet_v2_50:block2:unit_4:bottleneck_v2",
            "resnet_v2_50:block3:unit_1:bottleneck_v2", "resnet_v2_50:block3:unit_2:bottleneck_v2",
            "resnet_v2_50:block3:unit_3:bottleneck_v2", "resnet_v2_50:block3:unit_4:bottleneck_v2",
            "resnet_v2_50:block3:unit_5:bottleneck_v2", "resnet_v2_50:block3:unit_6:bottleneck_v2",
            "resnet_v2_50:block4:unit_1:bottleneck_v2", "resnet_v2_50:block4:unit_2:bottleneck_v2",
            "resnet_v2_50:block4:unit_3:bottleneck_v2", "resnet_v2_50:logits",
        ),
    },
    "released_resnet_101_v2": {
        "LABEL": "ResNet-101-v2 (released)", "COLOUR": "#b3d043", "NETWORK": "tensorflow/resnet_v2_101",
        "LAYERS": (
            "resnet_v2_101:conv1_abs", "resnet_v2_101:block1:unit_1:bottleneck_v2",
            "resnet_v2_101:block1:unit_2:bottleneck_v2", "resnet_v2_101:block1:unit_3:bottleneck_v2",
            "resnet_v2_101:block2:unit_1:bottleneck_v2", "resnet_v2_101:block2:unit_2:bottleneck_v2",
            "resnet_v2_101:block2:unit_3:bottleneck_v2", "resnet_v2_101:block2:unit_4:bottleneck_v2",
            "resnet_v2_101:block3:unit_1:bottleneck_v2", "resnet_v2_101:block3:unit_2:bottleneck_v2",
            "resnet_v2_101:block3:unit_3:bottleneck_v2", "resnet_v2_101:block3:unit_4:bottleneck_v2",
            "resnet_v2_101:block3:unit_5:bottleneck_v2", "resnet_v2_101:block3:unit_6:bottleneck_v2",
            "resnet_v2_101:block3:unit_7:bottleneck_v2", "resnet_v2_101:block3:unit_8:bottleneck_v2",
            "resnet_v2_101:block3:unit_9:bottleneck_v2", "resnet_v2_101:block3:unit_10:bottleneck_v2",
            "resnet_v2_101:block3:unit_11:bottleneck_v2", "resnet_v2_101:block3:unit_12:bottleneck_v2",
            "resnet_v2_101:block3:unit_13:bottleneck_v2", "resnet_v2_101:block3:unit_14:bottleneck_v2",
            "resnet_v2_101:block3:unit_15:bottleneck_v2", "resnet_v2_101:block3:unit_16:bottleneck_v2",
            "resnet_v2_101:block3:unit_17:bottleneck_v2", "resnet_v2_101:block3:unit_18:bottleneck_v2",
            "resnet_v2_101:block3:unit_19:bottleneck_v2", "resnet_v2_101:block3:unit_20:bottleneck_v2",
            "resnet_v2_101:block3:unit_21:bottleneck_v2", "resnet_v2_101:block3:unit_22:bottleneck_v2",
            "resnet_v2_101:block3:unit_23:bottleneck_v2", "resnet_v2_101:block4:unit_1:bottleneck_v2",
            "resnet_v2_101:block4:unit_2:bottleneck_v2", "resnet_v2_101:block4:unit_3:bottleneck_v2",
            "resnet_v2_101:logits",
        ),
    },
    "released_resnet_152_v2": {
        "LABEL": "ResNet-152-v2 (released)", "COLOUR": "#1f4c7a", "NETWORK": "tensorflow/resnet_v2_152",
        "LAYERS": (
            "resnet_v2_152:conv1_abs", "resnet_v2_152:block1:unit_1:bottleneck_v2",
            "resnet_v2_152:block1:unit_2:bottleneck_v2", "resnet_v2_152:block1:unit_3:bottleneck_v2",
            "resnet_v2_152:block2:unit_1:bottleneck_v2", "resnet_v2_152:block2:unit_2:bottleneck_v2",
            "resnet_v2_152:block2:unit_3:bottleneck_v2", "resnet_v2_152:block2:unit_4:bottleneck_v2",
            "resnet_v2_152:block2:unit_5:bottleneck_v2", "resnet_v2_152:block2:unit_6:bottleneck_v2",
            "resnet_v2_152:block2:unit_7:bottleneck_v2", "resnet_v2_152:block2:unit_8:bottleneck_v2",
            "resnet_v2_152:block3:unit_1:bottleneck_v2", "resnet_v2_152:block3:unit_2:bottleneck_v2",
            "resnet_v2_152:block3:unit_3:bottleneck_v2", "resnet_v2_152:block3:unit_4:bottleneck_v2",
            "resnet_v2_152:block3:unit_5:bottleneck_v2", "resnet_v2_152:block3:unit_6:bottleneck_v2",
            "resnet_v2_152:block3:unit_7:bottleneck_v2", "resnet_v2_152:block3:unit_8:bottleneck_v2",
            "resnet_v2_152:block3:unit_9:bottleneck_v2", "resnet_v2_152:block3:unit_10:bottleneck_v2",
            "resnet_v2_152:block3:unit_11:bottleneck_v2", "resnet_v2_152:block3:unit_12:bottleneck_v2",
            "resnet_v2_152:block3:unit_13:bottleneck_v2", "resnet_v2_152:block3:unit_14:bottleneck_v2",
            "resnet_v2_152:block3:unit_15:bottleneck_v2", "resnet_v2_152:block3:unit_16:bottleneck_v2",
            "resnet_v2_152:block3:unit_17:bottleneck_v2", "resnet_v2_152:block3:unit_18:bottleneck_v2",
            "resnet_v2_152:block3:unit_19:bottleneck_v2", "resnet_v2_152:block3:unit_20:bottleneck_v2",
            "resnet_v2_152:block3:unit_21:bottleneck_v2", "resnet_v2_152:block3:unit_22:bottleneck_v2",
            "resnet_v2_152:block3:unit_23:bottleneck_v2", "resnet_v2_152:block3:unit_24:bottleneck_v2",
            "resnet_v2_152:block3:unit_25:bottleneck_v2", "resnet_v2_152:block3:unit_26:bottleneck_v2",
            "resnet_v2_152:block3:unit_27:bottleneck_v2", "resnet_v2_152:block3:unit_28:bottleneck_v2",
            "resnet_v2_152:block3:unit_29:bottleneck_v2", "resnet_v2_152:block3:unit_30:bottleneck_v2",
            "resnet_v2_152:block3:unit_31:bottleneck_v2", "resnet_v2_152:block3:unit_32:bottleneck_v2",
            "resnet_v2_152:block3:unit_33:bottleneck_v2", "resnet_v2_152:block3:unit_34:bottleneck_v2",
            "resnet_v2_152:block3:unit_35:bottleneck_v2", "resnet_v2_152:block3:unit_36:bottleneck_v2",
            "resnet_v2_152:block4:unit_1:bottleneck_v2", "resnet_v2_152:block4:unit_2:bottleneck_v2",
            "resnet_v2_152:block4:unit_3:bottleneck_v2", "resnet_v2_152:logits",
        ),
    },
    "released_resnet_18": {
        "LABEL": "ResNet-18 (released)", "COLOUR": "#9b273f", "NETWORK": "pytorch/resnet18",
        "LAYERS": (
            "conv1_abs", "layer1", "layer2", "layer3", "layer4", "fc",
        ),
    },
    "released_resnet_34": {
        "LABEL": "ResNet-34 (released)", "COLOUR": "#2fbc3b", "NETWORK": "pytorch/resnet34",
        "LAYERS": (
            "conv1_abs", "layer1", "layer2", "layer3", "layer4", "fc",
        ),
    },
    "released_inception_v1": {
        "LABEL": "Inception-v1 (released)", "COLOUR": "#7843d0", "NETWORK": "tensorflow/inception_v1",
        "LAYERS": (
            "Conv2d_1a_7x7_abs", "Conv2d_2c_3x3", "Mixed_3b", "Mixed_3c", "Mixed_4b", "Mixed_4c", "Mixed_4d",
            "Mixed_4e", "Mixed_4f", "Mixed_5b", "Mixed_5c", "Logits",
        ),
    },
    "released_inception_v2": {
        "LABEL": "Inception-v2 (released)", "COLOUR": "#7a5c1f", "NETWORK": "tensorflow/inception_v2",
        "LAYERS": (
            "Conv2d_1a_7x7_abs", "Conv2d_2c_3x3", "Mixed_3b", "Mixed_3c", "Mixed_4a", "Mixed_4b", "Mixed_4c",
            "Mixed_4d", "Mixed_4e", "Mixed_5a", "Mixed_5b", "Mixed_5c", "Logits",
        ),
    },
    "released_inception_v3": {
        "LABEL": "Inception-v3 (released)", "COLOUR": "#279b96", "NETWORK": "tensorflow/inception_v3",
        "LAYERS": (
            "Conv2d_1a_3x3_abs", "Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_5c", "Mixed_5d",
            "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c",
            "Logits",
        ),
    },
    "released_inception_v4": {
        "LABEL": "Inception-v4 (released)", "COLOUR": "#bc2f98", "NETWORK": "tensorflow/inception_v4",
        "LAYERS": (
            "Conv2d_1a_3x3_abs", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Mixed_3a", "Mixed_4a", "Mixed_5b",
            "Mixed_5c", "Mixed_5d", "Mixed_5e", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
            "Mixed_6f", "Mixed_6g", "Mixed_7a", "Mixed_7b", "Mixed_7c", "Mixed_7d", "Logits",
        ),
    },
    "released_inception_resnet_v2": {
        "LABEL": "Inception-ResNet-v2 (released)", "COLOUR": "#83d043", "NETWORK": "caffe/InceptionResNet-v2",
        "LAYERS": (
            "conv1_3x3_s2_abs", "conv4_3x3", "stem_concat", "inception_resnet_v2_a1_residual_eltwise",
            "inception_resnet_v2_a2_residual_eltwise", "inception_resnet_v2_a3_residual_eltwise",
            "inception_resnet_v2_a4_residual_eltwise", "inception_resnet_v2_a5_residual_eltwise",
            "inception_resnet_v2_a6_residual_eltwise", "inception_resnet_v2_a7_residual_eltwise",
            "inception_resnet_v2_a8_residual_eltwise", "inception_resnet_v2_a9_residual_eltwise",
            "inception_resnet_v2_a10_residual_eltwise", "reduction_a_concat",
            "inception_resnet_v2_b1_residual_eltwise", "inception_resnet_v2_b2_residual_eltwise",
            "inception_resnet_v2_b3_residual_eltwise", "inception_resnet_v2_b4_residual_eltwise",
            "inception_resnet_v2_b5_residual_eltwise", "inception_resnet_v2_b6_residual_eltwise",
            "inception_resnet_v2_b7_residual_eltwise", "inception_resnet_v2_b8_residual_eltwise",
            "inception_resnet_v2_b9_residual_eltwise", "inception_resnet_v2_b10_residual_eltwise",
            "inception_resnet_v2_b11_residual_eltwise", "inception_resnet_v2_b12_residual_eltwise",
            "inception_resnet_v2_b13_residual_eltwise", "inception_resnet_v2_b14_residual_eltwise",
            "inception_resnet_v2_b15_residual_eltwise", "inception_resnet_v2_b16_residual_eltwise",
            "inception_resnet_v2_b17_residual_eltwise", "inception_resnet_v2_b18_residual_eltwise",
            "inception_resnet_v2_b19_residual_eltwise", "inception_resnet_v2_b20_residual_eltwise",
            "reduction_b_concat", "inception_resnet_v2_c1_residual_eltwise",
            "inception_resnet_v2_c2_residual_eltwise", "inception_resnet_v2_c3_residual_eltwise",
            "inception_resnet_v2_c4_residual_eltwise", "inception_resnet_v2_c5_residual_eltwise",
            "inception_resnet_v2_c6_residual_eltwise", "inception_resnet_v2_c7_residual_eltwise",
            "inception_resnet_v2_c8_residual_eltwise", "inception_resnet_v2_c9_residual_eltwise",
            "inception_resnet_v2_c10_residual_eltwise", "classifier",
        ),
    },
    "released_squeezenet_1_0": {
        "LABEL": "SqueezeNet-1.0 (released)", "COLOUR": "#1f2e7a", "NETWORK": "caffe/SqueeseNet1.0",
        "LAYERS": (
            "conv1_abs", "fire2:concat", "fire3:concat", "fire4:concat", "fire5:concat", "fire6:concat",
            "fire7:concat", "fire8:concat", "fire9:concat", "pool10",
        ),
    },
    "released_squeezenet_1_1": {
        "LABEL": "SqueezeNet-1.1 (released)", "COLOUR": "#9b3627", "NETWORK": "caffe/SqueeseNet",
        "LAYERS": (
            "conv1_abs", "fire2:concat", "fire3:concat", "fire4:concat", "fire5:concat", "fire6:concat",
            "fire7:concat", "fire8:concat", "fire9:concat", "pool10",
        ),
    },
    "released_nasnet_mobile": {
        "LABEL": "NASNet-Mobile (released)", "COLOUR": "#2fbc6a", "NETWORK": "tensorflow/nasnet_mobile",
        "LAYERS": (
            "conv0_abs", "Stem", "Cell_0", "Cell_1", "Cell_2", "Cell_3", "Cell_4", "Cell_5", "Cell_6",
            "Cell_7", "Cell_8", "Cell_9", "Cell_10", "Cell_11", "Logits",
        ),
    },
    "released_nasnet_large": {
        "LABEL": "NASNet-Large (released)", "COLOUR": "#a743d0", "NETWORK": "tensorflow/nasnet_large",
        "LAYERS": (
            "conv0_abs", "Stem", "Cell_0", "Cell_1", "Cell_2", "Cell_3", "Cell_4", "Cell_5", "Cell_6",
            "Cell_7", "Cell_8", "Cell_9", "Cell_10", "Cell_11", "Cell_12", "Cell_13", "Cell_14", "Cell_15",
            "Cell_16", "Cell_17", "Logits",
        ),
    },
    "released_pnasnet_large": {
        "LABEL": "PNASNet-Large (released)", "COLOUR": "#7a7a1f", "NETWORK": "tensorflow/pnasnet_large",
        "LAYERS": (
            "conv0_abs", "Stem", "Cell_0", "Cell_1", "Cell_2", "Cell_3", "Cell_4", "Cell_5", "Cell_6",
            "Cell_7", "Cell_8", "Cell_9", "Cell_10", "Cell_11", "Logits",
        ),
    },
    "released_cornet_z": {
        "LABEL": "CORnet-Z (released)", "COLOUR": "#27799b", "NETWORK": "pytorch/CORnet_Z",
        "LAYERS": (
            "V1_conv_abs", "V1_output", "V2_output", "V4_output", "IT_output", "decoder_linear",
        ),
    },
    "released_cornet_r": {
        "LABEL": "CORnet-R (released)", "COLOUR": "#bc2f69", "NETWORK": "pytorch/CORnet_R",
        "LAYERS": (
            "V1_conv1_abs", "V1_output", "V2_output", "V4_output", "IT_output", "decoder_linear",
        ),
    },
    "released_cornet_s": {
        "LABEL": "CORnet-S (released)", "COLOUR": "#54d043", "NETWORK": "pytorch/CORnet_S",
        "LAYERS": (
            "V1_conv1_abs", "V1_output", "V2_output", "V4_output", "IT_output", "decoder_linear",
        ),
    },
    "released_mobilenet_v2_1_4_224": {
        "LABEL": "MobileNet-v2-1.4-224 (released)", "COLOUR": "#2e1f7a", "NETWORK": "tensorflow/mobilenet_v2_1.4_224",
        "LAYERS": (
            "layer_1_abs", "layer_2:output", "layer_3:output", "layer_4:output", "layer_5:output",
            "layer_6:output", "layer_7:output", "layer_8:output", "layer_9:output", "layer_10:output",
            "layer_11:output", "layer_12:output", "layer_13:output", "layer_14:output", "layer_15:output",
            "layer_16:output", "layer_17:output", "layer_18:output", "Logits",
        ),
    },
}
# fmt: on


def release(name, *, control=""):
    """Released features of a member; there are none of controls.

    Parameters
    ----------
    name : str
        A key of VARIANTS.
    control : {""}

    Returns
    -------
    lib.released.Release

    Raises
    ------
    ValueError
        If a control is asked for.
    lib.download.DownloadError
        If a zip cannot be had.
    """
    plugins.require(control, ("",), "control of released features")
    known = plugins.about("model", name)
    sizes = SOURCES[known["NETWORK"].partition("/")[0]]
    rows = [(f"https://ndownloader.figshare.com/files/{n}", "", size) for n, size in sizes.items()]
    found = download.fetch_all(rows)
    hashes = [locked.entries()[url].sha256 for url in found]

    def read(stimuli, layers):
        return featurefiles.mats(list(found.values()), known["NETWORK"], stimuli, layers)

    return released.Release(name, tuple(known["LAYERS"]), released.digest(hashes, known["NETWORK"]), read)
