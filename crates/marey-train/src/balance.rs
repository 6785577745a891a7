//! What in a recipe makes rare classes count more, and a warning where several do so at once.

use marey_data::SamplerConfig;

use crate::{ClassWeights, LossKind, Recipe};

impl Recipe {
    /// The settings that make rare classes count more, as written in a recipe.
    fn corrections(&self) -> Vec<&'static str> {
        let sampler = match self.train.sampler {
            SamplerConfig::Shuffled {} => None,
            SamplerConfig::Weighted { .. } => Some("train.sampler.kind = \"weighted\""),
            SamplerConfig::Balanced {} => Some("train.sampler.kind = \"balanced\""),
            SamplerConfig::Boosted { .. } => Some("train.sampler.kind = \"boosted\""),
        };
        let weights =
            (self.loss.class_weights != ClassWeights::None).then_some("loss.class_weights");
        [weights, sampler].into_iter().flatten().collect()
    }

    /// What a person should know about this recipe before it is trained, a sentence each. They are written into the
    /// run's log and its report.
    pub fn warnings(&self) -> Vec<String> {
        let corrections = self.corrections();
        if corrections.len() < 2 {
            return Vec::new();
        }
        let focal = match self.loss.kind {
            LossKind::CrossEntropy => "",
            LossKind::Focal | LossKind::AdaptiveFocal => {
                ", and a focal loss lets them count more a third time, as the clips that are hard"
            }
        };
        vec![format!(
            "{} each make rare classes count more, so together they do it twice over{focal}: such runs tend to answer \
             the rarest class for everything; keep one of them",
            corrections.join(" and "),
        )]
    }
}

#[cfg(test)]
mod tests {
    use crate::Recipe;

    const SMALL: &str = r#"
        data.path = "clips.csv"
        sampling = { mode = "uniform", frames = 8 }
        preprocess = { size = [64, 64] }
        model.arch = "r3d_18"
        optimizer = { kind = "adamw", lr = 0.001 }
        train = { epochs = 2, batch = 4 }
    "#;

    fn warnings(changes: &[&str]) -> Vec<String> {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        Recipe::parse(SMALL, "small", &changes)
            .expect("valid")
            .warnings()
    }

    #[test]
    fn one_correction_is_none_too_many() {
        let weights = "loss.class_weights=balanced";
        let sampler = "train.sampler={ kind = \"balanced\" }";
        assert!(warnings(&[]).is_empty());
        assert!(warnings(&[weights]).is_empty());
        assert!(warnings(&[sampler]).is_empty());
        let found = warnings(&[weights, sampler]);
        assert!(
            found.len() == 1
                && found[0].starts_with(
                    "loss.class_weights and train.sampler.kind = \"balanced\" each make"
                ),
            "{found:?}"
        );
        assert!(!found[0].contains("a third time"), "{found:?}");
        let focal = "loss.kind=focal";
        assert!(
            warnings(&[sampler, focal]).is_empty(),
            "a focal loss alone weighs no class"
        );
        assert!(warnings(&[weights, sampler, focal])[0].contains("a third time"));
    }
}
