//! A bundle at work: sources in, classes with confidences out.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use marey_clip::{ClassList, ClipPlan, Pixels, Span, Timeline};
use marey_eval::{Heat, ViewMean};
use marey_media::{OpenOptions, Reader};
use marey_model::{Bundle, Card};
use serde::Serialize;

use crate::{Error, Windowing};

/// Scores clips with a bundle's model, prepared exactly as in training.
#[derive(Debug)]
pub struct Predictor {
    bundle: Bundle,
    batch: usize,
    device: Device,
}

/// A class and its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Name of the class.
    pub class: String,
    /// Its score after softmax, 0–1.
    pub score: f32,
}

/// What a model says about one stretch of a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowPrediction {
    /// Start of the window in seconds.
    pub start_sec: f64,
    /// End of the window in seconds.
    pub end_sec: f64,
    /// The best guesses, best first.
    pub top: Vec<Guess>,
}

/// What a model says about a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The source.
    pub path: PathBuf,
    /// The best class; for a source cut into windows, that of the mean score.
    pub class: String,
    /// Its score after softmax, 0–1.
    pub confidence: f32,
    /// The best guesses, best first.
    pub top: Vec<Guess>,
    /// What decoded the source.
    pub backend: String,
    /// The timeline, where the source was cut into windows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowPrediction>,
}

impl Predictor {
    /// The bundle in `dir`. Clips are scored `batch` at a time.
    ///
    /// # Errors
    /// When the bundle cannot be read, is of another version, or its parts do not fit together.
    pub fn open(dir: &Path, batch: usize, device: &Device) -> Result<Self, Error> {
        Ok(Self {
            bundle: Bundle::load(dir, device)?,
            batch: batch.max(1),
            device: device.clone(),
        })
    }

    /// What the bundle says about itself.
    pub const fn card(&self) -> &Card {
        self.bundle.card()
    }

    /// The classes, in the order of the scores.
    pub const fn classes(&self) -> &ClassList {
        &self.card().classes
    }

    /// Scores after softmax of prepared clips: for each of `dims[0]` clips one score a class.
    ///
    /// # Shapes
    /// - `pixels`: `u8` `[b, t, h, w, 3]` = `dims`, as `Preprocess::spatial` gives them
    pub fn scores(&self, pixels: Vec<u8>, dims: [usize; 5]) -> Vec<Vec<f32>> {
        let input = self.card().preprocess.to_input(pixels, dims, &self.device);
        self.bundle.model().scores(input)
    }

    /// Where in a prepared clip the model found what speaks for a class (Grad-CAM, see
    /// [`Model::evidence`](marey_model::Model::evidence)).
    ///
    /// # Shapes
    /// - `pixels`: `u8` `[1, t, h, w, 3]` = `dims`
    ///
    /// # Panics
    /// If there are several clips, or `class` is none of the model's.
    pub fn heat(&self, pixels: Vec<u8>, dims: [usize; 5], class: usize) -> Heat {
        let input = self.card().preprocess.to_input(pixels, dims, &self.device);
        let evidence = self.bundle.model().evidence(input, class);
        let [_, t, h, w] = evidence.places.dims();
        Heat {
            class: self.classes().name(class).to_owned(),
            dims: [t, h, w],
            values: values(evidence.places),
            over_time: values(evidence.over_time),
        }
    }

    /// What the model says about the source at `path`, `top` guesses long; with `windowing`, also about each window.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn predict(
        &self,
        path: &Path,
        top: usize,
        windowing: Option<&Windowing>,
        options: &OpenOptions,
    ) -> Result<Prediction, Error> {
        let mut reader = marey_media::open(path, options)?;
        let backend = reader.info().backend.to_string();
        let timeline = reader.info().timeline.clone();
        let spans = windowing.map_or_else(
            || vec![timeline.span()],
            |windowing| windowing.spans(timeline.span()),
        );
        let scores = self.scores_of_spans(reader.as_mut(), &timeline, &spans)?;
        if scores.iter().flatten().any(|score| !score.is_finite()) {
            return Err(Error::NonFinite {
                path: path.to_owned(),
            });
        }
        let mut mean = ViewMean::new(self.classes().len());
        scores.iter().for_each(|scores| mean.add(0, scores));
        let (_, mean) = mean.finish().remove(0);
        let best = self.guesses(&mean, top);
        let window = |(span, scores): (&Span, &Vec<f32>)| WindowPrediction {
            start_sec: span.start().as_secs(),
            end_sec: span.end().as_secs(),
            top: self.guesses(scores, top),
        };
        let windows = windowing
            .map(|_| spans.iter().zip(&scores).map(window).collect())
            .unwrap_or_default();
        Ok(Prediction {
            path: path.to_owned(),
            class: best[0].class.clone(),
            confidence: best[0].score,
            top: best,
            backend,
            windows,
        })
    }

    /// Mean scores over the views of each span, in the order of `spans`.
    fn scores_of_spans(
        &self,
        reader: &mut dyn Reader,
        timeline: &Timeline,
        spans: &[Span],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let sampling = &self.card().sampling;
        let plans: Vec<(usize, ClipPlan)> = spans
            .iter()
            .enumerate()
            .flat_map(|(idx, &span)| {
                sampling
                    .plan_views(timeline, span)
                    .into_iter()
                    .map(move |plan| (idx, plan))
            })
            .collect();
        let mut means = ViewMean::new(self.classes().len());
        for plans in plans.chunks(self.batch) {
            let (mut pixels, mut dims) = (Vec::new(), [0; 5]);
            for (_, plan) in plans {
                let clip = self.card().preprocess.spatial(&reader.read(plan)?)?;
                let [t, h, w, c] = clip.dims();
                dims = [plans.len(), t, h, w, c];
                match clip.into_parts().0 {
                    Pixels::U8(values) => pixels.extend(values),
                    Pixels::F32(_) => unreachable!("`Preprocess::spatial` gives u8"),
                }
            }
            for ((idx, _), scores) in plans.iter().zip(self.scores(pixels, dims)) {
                means.add(*idx, &scores);
            }
        }
        Ok(means
            .finish()
            .into_iter()
            .map(|(_, scores)| scores)
            .collect())
    }

    fn guesses(&self, scores: &[f32], top: usize) -> Vec<Guess> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // Stable: of equal scores the earlier class comes first, as in evaluation.
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let guess = |&idx: &usize| Guess {
            class: self.classes().name(idx).to_owned(),
            score: scores[idx],
        };
        order.iter().take(top.max(1)).map(guess).collect()
    }
}

/// The values of a tensor, read back from the device.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_into_vec().expect("converted to f32")
}
