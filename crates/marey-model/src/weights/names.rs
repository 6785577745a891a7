//! Names by which other programs' files know our parameters, where they are not ours.

use crate::Arch;

/// Our name of the tensor `name` of a file for `arch`, where it has another.
pub(super) fn ours(arch: Arch, name: &str) -> Option<String> {
    match arch {
        // The cross-sucking system's classifier, `head.net` = dropout, linear.
        Arch::R3d18 => {
            let part = name.strip_prefix("head.net.1.")?;
            Some(format!("fc.{part}"))
        }
        _ if arch.is_slowfast() || arch == Arch::SlowOnlyR50 => pytorchvideo(name),
        // `Conv3d_1a_7x7`, `Mixed_3b`.
        Arch::I3d => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

/// The values of the tensor `name`, of `shape`, in the order in which our parameter has them: pytorchvideo's SlowFast shows
/// its classifier what the slow pathway found first, mmaction2 and we show it that of the fast one.
pub(super) fn in_our_order(
    arch: Arch,
    name: &str,
    mut values: Vec<f32>,
    shape: &[usize],
) -> Vec<f32> {
    if arch.is_slowfast()
        && name.ends_with("blocks.6.proj.weight")
        && let [_, width] = *shape
    {
        // The fast pathway has an eighth of the slow one's channels.
        let from_fast = width / 9;
        for row in values.chunks_exact_mut(width.max(1)) {
            row.rotate_right(from_fast);
        }
    }
    values
}

/// Our name, which is mmaction2's, of a parameter of pytorchvideo's SlowFast or Slow.
fn pytorchvideo(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.strip_prefix("blocks.")?.split('.').collect();
    match parts.as_slice() {
        ["5" | "6", "proj", leaf] => Some(format!("cls_head.fc_cls.{leaf}")),
        [stage, "multipathway_fusion", part, leaf] => {
            let lateral = if *stage == "0" {
                "conv1_lateral".to_owned()
            } else {
                format!("layer{stage}_lateral")
            };
            let part = match *part {
                "conv_fast_to_slow" => "conv",
                "norm" => "bn",
                _ => return None,
            };
            Some(format!("backbone.slow_path.{lateral}.{part}.{leaf}"))
        }
        [stage, "multipathway_blocks", "0", rest @ ..] => {
            Some(format!("backbone.slow_path.{}", in_pathway(stage, rest)?))
        }
        [stage, "multipathway_blocks", "1", rest @ ..] => {
            Some(format!("backbone.fast_path.{}", in_pathway(stage, rest)?))
        }
        [stage, rest @ ..] => Some(format!("backbone.{}", in_pathway(stage, rest)?)),
        [] => None,
    }
}

fn in_pathway(stage: &str, rest: &[&str]) -> Option<String> {
    match rest {
        ["conv", leaf] if stage == "0" => Some(format!("conv1.conv.{leaf}")),
        ["norm", leaf] if stage == "0" => Some(format!("conv1.bn.{leaf}")),
        ["res_blocks", block, "branch1_conv", leaf] => {
            Some(format!("layer{stage}.{block}.downsample.conv.{leaf}"))
        }
        ["res_blocks", block, "branch1_norm", leaf] => {
            Some(format!("layer{stage}.{block}.downsample.bn.{leaf}"))
        }
        ["res_blocks", block, "branch2", unit, leaf] => {
            let unit = match *unit {
                "conv_a" => "conv1.conv",
                "norm_a" => "conv1.bn",
                "conv_b" => "conv2.conv",
                "norm_b" => "conv2.bn",
                "conv_c" => "conv3.conv",
                "norm_c" => "conv3.bn",
                _ => return None,
            };
            Some(format!("layer{stage}.{block}.{unit}.{leaf}"))
        }
        _ => None,
    }
}

/// torchvision's name of a tensor that mmaction2 put into pairs of convolution and norm, and TSM once more into the module
/// that shifts: `layer1.0.conv2.bn.bias` is `layer1.0.bn2.bias`, `layer1.0.conv1.conv.net.weight` is
/// `layer1.0.conv1.weight`.
pub(super) fn torchvision(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        [before @ .., "downsample", pair @ ("conv" | "bn"), leaf] => {
            let idx = if *pair == "conv" { 0 } else { 1 };
            [before, &["downsample", &idx.to_string(), leaf]]
                .concat()
                .join(".")
        }
        [before @ .., conv, "conv", leaf] | [before @ .., conv, "conv", "net", leaf]
            if conv.starts_with("conv") =>
        {
            [before, &[*conv, leaf]].concat().join(".")
        }
        [before @ .., conv, "bn", leaf] if conv.starts_with("conv") => {
            let norm = conv.replace("conv", "bn");
            [before, &[norm.as_str(), leaf]].concat().join(".")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pytorchvideos_names_become_ours() {
        for (theirs, expected) in [
            (
                "blocks.0.multipathway_blocks.1.norm.running_var",
                Some("backbone.fast_path.conv1.bn.running_var"),
            ),
            (
                "blocks.3.multipathway_fusion.conv_fast_to_slow.weight",
                Some("backbone.slow_path.layer3_lateral.conv.weight"),
            ),
            (
                "blocks.0.multipathway_fusion.norm.bias",
                Some("backbone.slow_path.conv1_lateral.bn.bias"),
            ),
            (
                "blocks.4.multipathway_blocks.0.res_blocks.2.branch2.conv_c.weight",
                Some("backbone.slow_path.layer4.2.conv3.conv.weight"),
            ),
            ("blocks.0.conv.weight", Some("backbone.conv1.conv.weight")),
            (
                "blocks.1.res_blocks.0.branch1_norm.weight",
                Some("backbone.layer1.0.downsample.bn.weight"),
            ),
            ("blocks.5.proj.bias", Some("cls_head.fc_cls.bias")),
            // What is not of these networks has no name of ours.
            ("blocks.1.res_blocks.0.branch3.weight", None),
            ("backbone.conv1.conv.weight", None),
            ("blocks.", None),
        ] {
            assert_eq!(pytorchvideo(theirs).as_deref(), expected, "{theirs}");
        }
    }

    #[test]
    fn the_classifier_of_pytorchvideos_slowfast_is_turned_and_no_other_is() {
        // Two classes, eight values of the slow pathway and one of the fast.
        let values = || {
            vec![
                0., 1., 2., 3., 4., 5., 6., 7., 100., 10., 11., 12., 13., 14., 15., 16., 17., 200.,
            ]
        };
        let order = |arch, name| in_our_order(arch, name, values(), &[2, 9]);
        let turned = order(Arch::SlowFastR50_8x8, "model_state.blocks.6.proj.weight");
        assert_eq!(turned[..3], [100., 0., 1.]);
        assert_eq!(turned[9..12], [200., 10., 11.]);
        for (arch, name) in [
            (Arch::SlowFastR50_8x8, "cls_head.fc_cls.weight"),
            (Arch::X3dS, "blocks.6.proj.weight"),
        ] {
            assert_eq!(order(arch, name), values(), "{arch} {name}");
        }
    }

    #[test]
    fn mmaction2s_names_of_a_resnet_become_torchvisions() {
        for (theirs, ours) in [
            ("backbone.conv1.conv.weight", "backbone.conv1.weight"),
            ("backbone.conv1.bn.running_var", "backbone.bn1.running_var"),
            (
                "backbone.layer3.5.conv1.conv.net.weight",
                "backbone.layer3.5.conv1.weight",
            ),
            (
                "backbone.layer3.5.conv3.bn.bias",
                "backbone.layer3.5.bn3.bias",
            ),
            (
                "backbone.layer2.0.downsample.conv.weight",
                "backbone.layer2.0.downsample.0.weight",
            ),
            (
                "backbone.layer2.0.downsample.bn.running_mean",
                "backbone.layer2.0.downsample.1.running_mean",
            ),
            ("cls_head.fc_cls.weight", "cls_head.fc_cls.weight"),
            (
                "layer1.0.downsample.0.weight",
                "layer1.0.downsample.0.weight",
            ),
        ] {
            assert_eq!(torchvision(theirs), ours);
        }
    }
}
