//! Bundles at work: sources in, classes with confidences out.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use marey_clip::{ClassList, Clip, Pixels, Span, Timeline};
use marey_eval::{Heat, Smoothing, ViewAggregate, ViewScores};
use marey_media::{OpenOptions, Reader};
use marey_model::{Answering, Beside, Bundle, Card, EnsembleCard, HeadClasses};
use serde::Serialize;

use crate::{Error, Member, Windowing};

/// Scores sources with one bundle, or with several whose scores are averaged, prepared exactly as in training.
#[derive(Debug)]
pub struct Predictor {
    members: Vec<Member>,
    /// How the members' logits become an answer: the card's for one bundle, the ensemble's for several.
    answer: Answering,
    batch: usize,
}

/// A class and its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Name of the class.
    pub class: String,
    /// Its score, 0–1.
    pub score: f32,
}

/// What a model says about one stretch of a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowPrediction {
    /// Start of the window in seconds.
    pub start_sec: f64,
    /// End of the window in seconds.
    pub end_sec: f64,
    /// Whether the best score is below the bundle's threshold: the answer is "uncertain".
    pub is_uncertain: bool,
    /// The best guesses, best first.
    pub top: Vec<Guess>,
    /// How anomalous the window looks, where the model looks for anomalies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<AnomalyGuess>,
}

/// How anomalous something looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AnomalyGuess {
    /// Probability that something anomalous happens, 0–1, calibrated where the bundle is.
    pub score: f32,
    /// Squared distance from the centre of normal clips, with Deep SVDD: no probability, comparable within one model only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<f32>,
    /// Ranking score, 0–1, with ranking: no probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranking: Option<f32>,
}

/// The best value of a label that is learned beside the classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelGuess {
    /// The column of the manifest.
    pub column: String,
    /// The best value and its score.
    #[serde(flatten)]
    pub guess: Guess,
}

/// What a model says about a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The source.
    pub path: PathBuf,
    /// The best class; for a source cut into windows, that of the mean score.
    pub class: String,
    /// Its score, 0–1.
    pub confidence: f32,
    /// Whether the confidence is below the bundle's threshold: the answer is "uncertain".
    pub is_uncertain: bool,
    /// The best guesses, best first.
    pub top: Vec<Guess>,
    /// How anomalous the source looks, where the model looks for anomalies: the mean over its windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<AnomalyGuess>,
    /// The other labels that the model tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelGuess>,
    /// What decoded the source.
    pub backend: String,
    /// The timeline, where the source was cut into windows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowPrediction>,
}

/// The scores of every window of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// When each frame of the source is shown.
    pub timeline: Timeline,
    /// What decoded the source.
    pub backend: String,
    /// The windows in order of time.
    pub spans: Vec<Span>,
    /// For each window one score a class, not smoothed.
    pub scores: Vec<Vec<f32>>,
    /// What is said of each window beside its classes, the mean over its views; of several bundles, what the first says.
    pub beside: Vec<Beside>,
}

impl Predictor {
    /// The bundle, or the ensemble, in `dir`. Clips are scored `batch` at a time.
    ///
    /// # Errors
    /// When it cannot be read, is of another version, or its parts do not fit together.
    pub fn open(dir: &Path, batch: usize, device: &Device) -> Result<Self, Error> {
        let Some((card, members)) = EnsembleCard::find(dir)? else {
            return Ok(Self::of_bundle(Bundle::load(dir, device)?, batch, device));
        };
        let mut predictor = Self::together(&members, batch, device)?;
        let cards: Vec<&Card> = predictor.members.iter().map(Member::card).collect();
        card.check(dir, &cards)?;
        predictor.answer = card.answer;
        Ok(predictor)
    }

    /// The bundles in `dirs` together: their scores are averaged (Lakshminarayanan et al., "Simple and Scalable Predictive
    /// Uncertainty Estimation using Deep Ensembles", NeurIPS 2017). Each has its own sampling, preprocessing, views and
    /// calibration; thresholds of the members are not used, because those of an average are others.
    ///
    /// # Errors
    /// When there is none, one cannot be read, or their classes differ.
    pub fn together(dirs: &[PathBuf], batch: usize, device: &Device) -> Result<Self, Error> {
        let members = dirs
            .iter()
            .map(|dir| Ok(Member::new(Bundle::load(dir, device)?, device)))
            .collect::<Result<Vec<_>, Error>>()?;
        let first = members.first().ok_or(Error::NoMember)?;
        for (dir, member) in dirs.iter().zip(&members) {
            if member.card().classes != first.card().classes {
                return Err(Error::Members {
                    first: dirs[0].clone(),
                    first_classes: first.card().classes.names().to_vec(),
                    other: dir.clone(),
                    other_classes: member.card().classes.names().to_vec(),
                });
            }
        }
        let answer = match &members[..] {
            [only] => only.card().answer.clone(),
            _ => Answering::default(),
        };
        Ok(Self {
            members,
            answer,
            batch: batch.max(1),
        })
    }

    /// A bundle that is in memory.
    pub fn of_bundle(bundle: Bundle, batch: usize, device: &Device) -> Self {
        let answer = bundle.card().answer.clone();
        Self {
            members: vec![Member::new(bundle, device)],
            answer,
            batch: batch.max(1),
        }
    }

    /// The same with another way to answer, such as before a calibration is fitted.
    #[must_use]
    pub fn with_answer(mut self, answer: Answering) -> Self {
        self.answer = answer;
        self
    }

    /// The same with window scores smoothed another way, or not at all.
    #[must_use]
    pub fn with_smoothing(mut self, smoothing: Option<Smoothing>) -> Self {
        self.answer.smoothing = smoothing;
        self
    }

    /// The bundles, one or more.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How logits become an answer.
    pub const fn answer(&self) -> &Answering {
        &self.answer
    }

    /// What the bundle says about itself; of several, the first.
    pub fn card(&self) -> &Card {
        self.members[0].card()
    }

    /// The classes, in the order of the scores.
    pub fn classes(&self) -> &ClassList {
        &self.card().classes
    }

    /// Where in a prepared clip the model found what speaks for a class (Grad-CAM, see
    /// [`Model::evidence`](marey_model::Model::evidence)); of several models, the first.
    ///
    /// # Shapes
    /// - `pixels`: `u8` `[1, t, h, w, 3]` = `dims`
    ///
    /// # Panics
    /// If there are several clips, or `class` is none of the model's.
    pub fn heat(&self, pixels: Vec<u8>, dims: [usize; 5], class: usize) -> Heat {
        self.members[0].heat(pixels, dims, class)
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
        let scanned = self.scan(path, windowing, None, options)?;
        let mean = mean_of(&scanned.scores);
        let best = guesses(self.classes(), &mean, top);
        let beside = Beside::mean(&scanned.beside);
        let window = |((span, scores), beside): ((&Span, &Vec<f32>), &Beside)| WindowPrediction {
            start_sec: span.start().as_secs(),
            end_sec: span.end().as_secs(),
            is_uncertain: self.answer.is_uncertain(scores),
            top: guesses(self.classes(), scores, top),
            anomaly: self.anomaly(beside),
        };
        let windows = match windowing {
            Some(_) => {
                let smoothed = self.smoothed(&scanned.scores);
                let windows = scanned.spans.iter().zip(&smoothed);
                windows.zip(&scanned.beside).map(window).collect()
            }
            None => Vec::new(),
        };
        Ok(Prediction {
            path: path.to_owned(),
            class: best[0].class.clone(),
            confidence: best[0].score,
            is_uncertain: self.answer.is_uncertain(&mean),
            top: best,
            anomaly: self.anomaly(&beside),
            labels: self.labels(&beside),
            backend: scanned.backend,
            windows,
        })
    }

    /// The scores of every window of the source at `path`, or of the stretch `within` of it; without `windowing` there is one
    /// window.
    ///
    /// # Errors
    /// When the source cannot be read, or a score is not finite.
    pub fn scan(
        &self,
        path: &Path,
        windowing: Option<&Windowing>,
        within: Option<Span>,
        options: &OpenOptions,
    ) -> Result<Scanned, Error> {
        let mut reader = marey_media::open(path, options)?;
        let backend = reader.info().backend.to_string();
        let timeline = reader.info().timeline.clone();
        let whole = within
            .and_then(|within| within.intersection(timeline.span()))
            .unwrap_or(timeline.span());
        let spans = windowing.map_or_else(|| vec![whole], |windowing| windowing.spans(whole));
        let mut by_member = Vec::new();
        let mut beside = Vec::new();
        for (idx, member) in self.members.iter().enumerate() {
            let (logits, said) = self.said_of_spans(member, reader.as_mut(), &timeline, &spans)?;
            by_member.push(logits);
            if idx == 0 {
                beside = said;
            }
        }
        let mut scores = Vec::with_capacity(spans.len());
        for idx in 0..spans.len() {
            let logits: Vec<&[f32]> = by_member.iter().map(|logits| &logits[idx][..]).collect();
            let answered = self
                .together_logits(&logits)
                .and_then(|logits| Ok(self.answer.scores(&logits)?));
            // The reason is the same for every item; the path is what helps.
            scores.push(answered.map_err(|_| Error::NonFinite {
                path: path.to_owned(),
            })?);
        }
        Ok(Scanned {
            timeline,
            backend,
            spans,
            scores,
            beside,
        })
    }

    /// Window scores in order of time, smoothed as the answer says.
    pub fn smoothed(&self, scores: &[Vec<f32>]) -> Vec<Vec<f32>> {
        match &self.answer.smoothing {
            Some(smoothing) => smoothing.apply(scores),
            None => scores.to_vec(),
        }
    }

    /// One bundle's logits as they are; of several, the logarithm of the mean of their scores.
    pub(crate) fn together_logits(&self, by_member: &[&[f32]]) -> Result<Vec<f32>, Error> {
        if let [only] = by_member {
            return Ok(only.to_vec());
        }
        let mut mean = ViewScores::new(self.classes().len(), ViewAggregate::Mean);
        for (member, logits) in self.members.iter().zip(by_member) {
            let scores = member.card().answer.scores(logits)?;
            // A score of 0 has no logarithm; the smallest positive one weighs nothing in a mean.
            let logs = scores.iter().map(|score| score.max(f32::MIN_POSITIVE).ln());
            mean.add(0, &logs.collect::<Vec<_>>());
        }
        Ok(mean.finish().remove(0).1)
    }

    /// The logits of each span by one member, its views taken together, and what it says beside, in the order of `spans`.
    fn said_of_spans(
        &self,
        member: &Member,
        reader: &mut dyn Reader,
        timeline: &Timeline,
        spans: &[Span],
    ) -> Result<(Vec<Vec<f32>>, Vec<Beside>), Error> {
        let Card {
            sampling,
            preprocess,
            answer,
            ..
        } = member.card();
        let sampling = answer.sampling(sampling);
        let mut views = ViewScores::new(self.classes().len(), answer.aggregate);
        let mut beside: Vec<Vec<Beside>> = vec![Vec::new(); spans.len()];
        let mut waiting: Vec<(usize, Clip)> = Vec::new();
        let mut score = |waiting: &mut Vec<(usize, Clip)>| {
            let Some((_, first)) = waiting.first() else {
                return;
            };
            let [t, h, w, c] = first.dims();
            let dims = [waiting.len(), t, h, w, c];
            let (items, clips): (Vec<usize>, Vec<Clip>) = waiting.drain(..).unzip();
            let mut pixels = Vec::with_capacity(dims.iter().product());
            for clip in clips {
                match clip.into_parts().0 {
                    Pixels::U8(values) => pixels.extend(values),
                    Pixels::F32(_) => unreachable!("`Preprocess` gives u8"),
                }
            }
            for (idx, said) in items.into_iter().zip(member.said(pixels, dims)) {
                views.add(idx, &said.logits);
                beside[idx].push(said.beside);
            }
        };
        for (idx, &span) in spans.iter().enumerate() {
            for plan in sampling.plan_views(timeline, span) {
                let clip = reader.read(&plan)?;
                for view in preprocess.spatial_views(&clip, answer.spatial())? {
                    waiting.push((idx, view));
                    if waiting.len() == self.batch {
                        score(&mut waiting);
                    }
                }
            }
        }
        score(&mut waiting);
        let logits = views.finish().into_iter().map(|(_, logits)| logits);
        let beside = beside.iter().map(|said| Beside::mean(said));
        Ok((logits.collect(), beside.collect()))
    }

    /// How anomalous something looks of which this was said.
    pub fn anomaly(&self, beside: &Beside) -> Option<AnomalyGuess> {
        beside.anomaly.map(|said| AnomalyGuess {
            score: self.answer.anomaly_probability(said.log_odds),
            distance: said.distance,
            ranking: said.ranking,
        })
    }

    fn labels(&self, beside: &Beside) -> Vec<LabelGuess> {
        let heads = self.card().heads.iter().zip(&beside.heads);
        let label = |(head, scores): (&HeadClasses, &Vec<f32>)| LabelGuess {
            column: head.column.clone(),
            guess: guesses(&head.classes, scores, 1).remove(0),
        };
        heads.map(label).collect()
    }
}

/// The best `top` of `classes`, one at least, best first.
fn guesses(classes: &ClassList, scores: &[f32], top: usize) -> Vec<Guess> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Stable: of equal scores the earlier class comes first, as in evaluation.
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let guess = |&idx: &usize| Guess {
        class: classes.name(idx).to_owned(),
        score: scores[idx],
    };
    order.iter().take(top.max(1)).map(guess).collect()
}

/// The mean of window scores, class by class. There is one window at least.
fn mean_of(scores: &[Vec<f32>]) -> Vec<f32> {
    let num_classes = scores[0].len();
    let mean = |class: usize| {
        let sum: f64 = scores.iter().map(|scores| f64::from(scores[class])).sum();
        (sum / scores.len() as f64) as f32
    };
    (0..num_classes).map(mean).collect()
}
