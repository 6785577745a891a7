//! From a recipe to a run folder with a bundle and a report: what `train` and `demo` share.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use marey::{
    clip::Sampling,
    data::{
        AuditConfig, DataConfig, Dataset, Depth, Finding, Frames, Loader, LoaderConfig,
        PackedStore, SamplerConfig, Severity, Split, SplitBy, Unreadable,
    },
    eval::{Report, Scored, compare},
    infer::{Judged, Look, Predictor, Task},
    media::OpenOptions,
    model::{Bundle, Card, DataSummary, HeadClasses, Provenance, files::write_whole, utc},
    train::{
        Ending, EvalConfig, EventLog, Progress, Recipe, Run, Select, Setup, Start, Trained, train,
    },
};
use serde_json::json;

use crate::{
    Outcome, answer,
    device::Chosen,
    eval::print_recordings,
    interrupt,
    judge::{
        Evaluated, add_clips, bootstrap, judge_one_clip, judge_train, judge_with_bar, report_of,
    },
    ledger::note_test_use,
    machine::readable_secs,
    output,
    progress::RunProgress,
    recordings,
};

/// A recipe's data, loaded and checked.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) frames: Frames,
    /// What the audit found, for the report.
    pub(crate) findings: Vec<Finding>,
}

impl Prepared {
    /// The same frames and findings for a part of the data, or the data divided otherwise.
    pub(crate) fn with_dataset(&self, dataset: Dataset) -> Self {
        Self {
            dataset: Arc::new(dataset),
            frames: self.frames.clone(),
            findings: self.findings.clone(),
        }
    }

    /// The items of `split`, to be judged.
    pub(crate) fn task(&self, recipe: &Recipe, split: Split) -> Task {
        Task {
            dataset: Arc::clone(&self.dataset),
            indices: self.dataset.indices(split),
            config: loader_config(recipe),
            frames: self.frames.clone(),
            unreadable: recipe.data.unreadable,
        }
    }
}

/// Clips whose frames are looked at before training and evaluation; `marey data audit` looks at more.
const CLIPS_LOOKED_AT: usize = 32;

/// How the data of `recipe` is audited, for clips that `sampling` draws.
pub(crate) fn audit_config(recipe: &Recipe, sampling: &Sampling, num_clips: usize) -> AuditConfig {
    let default = AuditConfig::default();
    AuditConfig {
        sampling: Some(sampling.clone()),
        temperature: recipe.preprocess.temperature.unwrap_or(default.temperature),
        depth: Depth::Frames(num_clips),
        ..default
    }
}

/// Loads and audits the recipe's data, for clips that `sampling` draws; what the audit found against it is an error, what it
/// warns of a note.
pub(crate) fn load(recipe: &Recipe, sampling: &Sampling) -> Result<Prepared> {
    let config = match &recipe.data.packed {
        None => recipe.data.clone(),
        // The store holds the frames: whether the files can be decoded decides nothing.
        Some(_) => DataConfig {
            unreadable: Unreadable::Skip,
            ..recipe.data.clone()
        },
    };
    let audited = marey::data::audit(&config, &audit_config(recipe, sampling, CLIPS_LOOKED_AT))?;
    let (dataset, audit) = audited.accept(&config)?;
    let dataset = Arc::new(dataset);
    for note in &dataset.notes {
        output::note(format!("note: {note}"));
    }
    for finding in &audit.findings {
        match finding.severity {
            Severity::Leak => output::note(format!("warning: accepted leak: {}", finding.sentence)),
            Severity::Warning => output::note(format!("warning: {}", finding.sentence)),
            Severity::Error | Severity::Note => {}
        }
    }
    let frames = match &recipe.data.packed {
        Some(path) => Frames::Packed(Arc::new(PackedStore::open(path)?)),
        None => Frames::Files(OpenOptions::default()),
    };
    Ok(Prepared {
        dataset,
        frames,
        findings: audit.findings,
    })
}

/// Loads the recipe's data and checks, before a run folder is made, that it can be trained on.
pub(crate) fn load_to_train(recipe: &Recipe) -> Result<Prepared> {
    let data = load(recipe, &recipe.sampling)?;
    ensure!(
        !data.dataset.indices(Split::Train).is_empty(),
        "no item is in the training split: check data.split in the recipe"
    );
    recipe.check_data(&data.dataset)?;
    if let Some(key) = recipe.eval.needs_validation() {
        answer::ensure_validation(key, &data)?;
    }
    recordings::check(recipe, &data.dataset)?;
    read_one_clip(recipe, &data.dataset, &data.frames)?;
    for warning in recipe.warnings() {
        output::note(format!("warning: {warning}"));
    }
    Ok(data)
}

/// What the last epoch drew, for the report, where that is not every item once.
fn drawn(
    recipe: &Recipe,
    dataset: &Dataset,
    progress: &Progress,
) -> Result<Option<(String, String)>> {
    let Some(last) = progress.epochs_done.checked_sub(1) else {
        return Ok(None);
    };
    if recipe.train.sampler == SamplerConfig::default() {
        return Ok(None);
    }
    let sampler = recipe.sampler(dataset)?;
    let drawn = sampler.drawn(&sampler.epoch(last as u64));
    let per_class = dataset.classes.names().iter().zip(&drawn.per_class);
    let per_class: Vec<String> = per_class
        .map(|(name, num)| format!("{num} {name}"))
        .collect();
    let fact = format!(
        "{} in the last epoch, from {} different items",
        per_class.join(", "),
        drawn.distinct
    );
    Ok(Some(("training draws".to_owned(), fact)))
}

/// Reads a clip of the first training item, so that settings that do not fit the data, or a store of other data, are found
/// before a run folder is made.
fn read_one_clip(recipe: &Recipe, dataset: &Arc<Dataset>, frames: &Frames) -> Result<()> {
    let first = dataset.indices(Split::Train)[0];
    let config = LoaderConfig {
        batch: 1,
        workers: 0,
        ..LoaderConfig::default()
    };
    let (sampling, preprocess) = (recipe.sampling.clone(), recipe.preprocess.clone());
    let loader = Loader::new(
        Arc::clone(dataset),
        vec![first],
        sampling,
        preprocess,
        config,
        frames.clone(),
    )?;
    let clip = loader.views().next().transpose();
    // Where unreadable items may be left out, the loader of the run finds and lists them.
    if recipe.data.unreadable == Unreadable::Stop {
        clip?;
    }
    Ok(())
}

/// The split that the report is about: the test split, else the validation split.
pub(crate) fn judged_split(dataset: &Dataset) -> Option<Split> {
    [Split::Test, Split::Validation]
        .into_iter()
        .find(|&split| !dataset.indices(split).is_empty())
}

/// A run that is being made.
pub(crate) struct Job<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) data: &'a Prepared,
    pub(crate) run: &'a Run,
    pub(crate) start: Start,
    pub(crate) chosen: &'a Chosen,
    /// Begins each line of progress.
    pub(crate) label: String,
}

/// What a job leaves.
pub(crate) struct Finished {
    pub(crate) trained: Trained,
    /// What was judged, where there is a split to judge on.
    pub(crate) judged: Option<OnSplit>,
}

/// A split as the bundle sees it.
pub(crate) struct OnSplit {
    pub(crate) split: Split,
    pub(crate) judged: Judged,
    pub(crate) one_clip: Option<Judged>,
    pub(crate) predictor: Predictor,
}

impl Job<'_> {
    fn loader(&self, split: Split) -> Result<Option<Loader>> {
        let indices = self.data.dataset.indices(split);
        if indices.is_empty() {
            return Ok(None);
        }
        // Training draws its own clips; the views are those of validation.
        let views = self.recipe.eval.validating();
        let loader = Loader::new(
            Arc::clone(&self.data.dataset),
            indices,
            views.sampling(&self.recipe.sampling),
            self.recipe.preprocess.clone(),
            loader_config(self.recipe),
            self.data.frames.clone(),
        )?;
        let loader = loader.with_segments(self.recipe.task.segments());
        let loader = loader.with_spatial(views.spatial())?;
        Ok(Some(loader.with_unreadable(self.recipe.data.unreadable)))
    }

    /// Trains, writes the bundle, and scores the judged split through it. `None` when it was interrupted.
    pub(crate) fn execute(&self) -> Result<Option<Finished>> {
        let train_loader = self
            .loader(Split::Train)?
            .context("the training split is empty")?;
        let validation = self.loader(Split::Validation)?;
        let setup = Setup {
            recipe: self.recipe,
            dataset: &self.data.dataset,
            train: &train_loader,
            validation: validation.as_ref(),
            run: self.run,
            stop: interrupt::stop_flag()?,
        };
        let mut progress = RunProgress::new(self.recipe.train.monitor.clone(), &self.label);
        let trained = train(&setup, self.start, &mut progress, &self.chosen.device)?;
        drop(progress);
        if trained.ending == Ending::Stopped {
            return Ok(None);
        }
        self.write_bundle(&trained)?;
        let predictor = self.fit_answer()?;
        let Some(split) = judged_split(&self.data.dataset) else {
            return Ok(Some(Finished {
                trained,
                judged: None,
            }));
        };
        let judged = self.judge(&predictor, split)?;
        let one_clip = judge_one_clip(self.recipe, self.data, &predictor, split, &self.label)?;
        Ok(Some(Finished {
            trained,
            judged: Some(OnSplit {
                split,
                judged,
                one_clip,
                predictor,
            }),
        }))
    }

    fn judge(&self, predictor: &Predictor, split: Split) -> Result<Judged> {
        let task = self.data.task(self.recipe, split);
        let prefix = format!("{}judging on {}", self.label, split.name());
        judge_with_bar(predictor, &task, Look::AllViews, &prefix)
    }

    /// The run's bundle at work, with calibration and threshold where the recipe asks for them.
    fn fit_answer(&self) -> Result<Predictor> {
        let (recipe, dir) = (self.recipe, self.run.bundle());
        let open = || Predictor::open(&dir, recipe.train.batch, &self.chosen.device);
        let predictor = open()?;
        let before = predictor.answer().clone();
        let (predictor, answer) = answer::fit(recipe, self.data, predictor, &self.label)?;
        if answer == before {
            return Ok(predictor);
        }
        let bundle = predictor.members()[0].bundle().clone();
        bundle.with_answer(answer).save(&dir)?;
        // What is judged is what was written.
        Ok(open()?)
    }

    fn write_bundle(&self, trained: &Trained) -> Result<()> {
        let dataset = &self.data.dataset;
        let num_items = |split| dataset.indices(split).len();
        let name = self
            .recipe
            .data
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let provenance = Provenance {
            recipe: self.recipe.name.clone(),
            run: self.run.id(),
            marey_version: env!("CARGO_PKG_VERSION").to_owned(),
            created: utc(SystemTime::now()),
            initial_weights: None,
            precision: self.recipe.train.precision.name().to_owned(),
            data: DataSummary {
                name: name.unwrap_or_default(),
                train: num_items(Split::Train),
                validation: num_items(Split::Validation),
                test: num_items(Split::Test),
                split: split_in_words(self.recipe),
            },
        };
        let mut card = Card::new(
            self.recipe.model.clone(),
            dataset.classes.clone(),
            self.recipe.sampling.clone(),
            self.recipe.preprocess.clone(),
            provenance,
        );
        card.task = self.recipe.task.clone();
        let columns = self.recipe.label_columns(dataset)?.into_iter();
        card.heads = columns
            .map(|column| HeadClasses {
                column: column.name,
                classes: column.classes,
            })
            .collect();
        card.answer = self.recipe.eval.answering();
        Bundle::new(trained.model.clone(), card).save(&self.run.bundle())?;
        Ok(())
    }
}

/// How the splits of a recipe are made, for the card.
fn split_in_words(recipe: &Recipe) -> String {
    let group = recipe
        .data
        .group
        .as_deref()
        .or(recipe.data.group_pattern.as_deref())
        .unwrap_or("source");
    match recipe.data.split.by {
        SplitBy::Group => format!(
            "by group ({group}), seed {}",
            recipe.data.split.shares().seed
        ),
        SplitBy::Time => {
            let time = recipe.data.split.time();
            format!(
                "by time, {} blocks a recording, gap {}, seed {}",
                time.blocks, time.gap, time.shares.seed
            )
        }
        SplitBy::Given => match recipe.data.split.validation {
            Some(share) => {
                format!("the data's own, and {share} of training to validation by group")
            }
            None => "the data's own".to_owned(),
        },
        SplitBy::Auto => format!("the data's own, or by group ({group}) where it has none"),
    }
}

/// How the loaders of a recipe work.
pub(crate) fn loader_config(recipe: &Recipe) -> LoaderConfig {
    LoaderConfig {
        batch: recipe.train.batch,
        workers: recipe.train.workers,
        prefetch: recipe.train.prefetch,
        seed: recipe.train.seed,
        drop_last: false,
    }
}

/// Trains `recipe` in `run`, judges the bundle, and writes the report.
pub(crate) fn train_and_report(
    recipe: &Recipe,
    data: &Prepared,
    run: &Run,
    start: Start,
    chosen: &Chosen,
    command: &str,
) -> Result<Outcome> {
    let started = Instant::now();
    let job = Job {
        recipe,
        data,
        run,
        start,
        chosen,
        label: String::new(),
    };
    let Some(finished) = job.execute()? else {
        output::note(format!(
            "stopped; go on with: marey train --resume {}",
            run.dir().display()
        ));
        return Ok(Outcome::Interrupted);
    };
    let Some(OnSplit {
        split,
        judged,
        one_clip,
        predictor,
    }) = finished.judged
    else {
        output::line(format!("bundle  {}", run.bundle().display()))?;
        output::note("no validation or test split: nothing was judged");
        return Ok(Outcome::Done);
    };
    let single_frame = match recipe.eval.single_frame_baseline {
        true => match single_frame(&job)? {
            Some(scored) => Some(scored),
            None => {
                output::note(format!(
                    "stopped; go on with: marey train --resume {}",
                    run.dir().display()
                ));
                return Ok(Outcome::Interrupted);
            }
        },
        false => None,
    };
    let on_train = judge_train(recipe, data, &predictor, split, "")?;
    let evaluated = Evaluated {
        recipe,
        data,
        predictor: &predictor,
        judged: &judged,
        one_clip: one_clip.as_ref(),
        on_train: on_train.as_ref(),
        split,
        chosen_on_this_split: split == Split::Validation && finished.trained.select == Select::Best,
        command: command.to_owned(),
        chosen,
        run: Some(run),
    };
    let mut report = report_of(&evaluated, started.elapsed())?;
    recordings::add(&mut report, &evaluated, false)?;
    add_clips(&mut report, &predictor, &evaluated)?;
    note_test_use(
        &mut report,
        recipe,
        &data.dataset,
        &[run.bundle()],
        &run.id(),
    )?;
    if let Some(baseline) = single_frame {
        let name = "the same model and budget on single frames";
        let comparison = compare(name, &judged.scored, &baseline, &bootstrap(recipe))?;
        report.classification.comparisons.push(comparison);
    }
    report
        .origin
        .facts
        .extend(skipped_steps(&finished.trained.progress));
    report
        .origin
        .facts
        .extend(averaged_weights(recipe, &finished.trained.progress));
    report
        .origin
        .facts
        .extend(drawn(recipe, &data.dataset, &finished.trained.progress)?);
    if finished.trained.select == Select::Best {
        report.chosen_epoch = finished.trained.best.map(|best| best.epoch as f64);
    }
    finish(
        run,
        &report,
        &judged.scored,
        finished.trained.progress.seconds,
    )
}

/// The steps that were not applied, for the report, where there are any.
fn skipped_steps(progress: &Progress) -> Option<(String, String)> {
    let Progress {
        step,
        skipped_steps,
        ..
    } = progress;
    let fact = format!("{skipped_steps} of {step}: a gradient was beyond f16");
    (*skipped_steps > 0).then(|| ("skipped steps".to_owned(), fact))
}

/// Which average the bundle holds, for the report, where it is one.
fn averaged_weights(recipe: &Recipe, progress: &Progress) -> Option<(String, String)> {
    let num = progress.num_averaged;
    let train = &recipe.train;
    let of_ema = train
        .ema
        .map(|ema| format!("moving average, decay {}, over {num} steps", ema.decay));
    let of_swa = train
        .swa
        .map(|_| format!("mean of the last {num} epochs, norms computed anew"));
    let fact = of_ema.or(of_swa)?;
    Some(("weights".to_owned(), fact))
}

/// The same recipe on clips of one frame, in the folder `single-frame` of the run: its scores of the same items.
fn single_frame(job: &Job<'_>) -> Result<Option<Vec<Scored>>> {
    let mut recipe = job.recipe.clone();
    recipe.name = "single-frame".to_owned();
    recipe.sampling.frames = 1;
    // A clip of one frame, judged as it is trained.
    recipe.eval = EvalConfig {
        bootstrap_draws: recipe.eval.bootstrap_draws,
        ..EvalConfig::default()
    };
    let run = single_frame_run(job.run.dir(), &recipe)?;
    let start = if job.start == Start::Resume {
        Start::Resume
    } else {
        Start::Fresh
    };
    let job = Job {
        recipe: &recipe,
        data: job.data,
        run: &run,
        start,
        chosen: job.chosen,
        label: "single frames: ".to_owned(),
    };
    let finished = job.execute()?;
    Ok(finished.map(|finished| {
        finished
            .judged
            .map(|on_split| on_split.judged.scored)
            .unwrap_or_default()
    }))
}

/// The run folder of the baseline: the one that is there, when a run is resumed.
fn single_frame_run(dir: &Path, recipe: &Recipe) -> Result<Run> {
    let there = dir.join("single-frame-1");
    if there.is_dir() {
        Ok(Run::open(&there)?)
    } else {
        Ok(Run::create(dir, recipe)?)
    }
}

/// Writes the report and says where everything is.
fn finish(run: &Run, report: &Report, scored: &[Scored], seconds: f64) -> Result<Outcome> {
    report.save(run.dir())?;
    let predictions = run.dir().join("predictions.csv");
    write_whole(
        &predictions,
        &marey::eval::predictions_csv(&report.classification.classes, scored),
    )?;
    let mut log = EventLog::open(run)?;
    log.write("report", &json!({ "verdict": report.verdict() }))?;
    output::line(&report.classification)?;
    print_recordings(report)?;
    output::line(report.verdict())?;
    output::line("")?;
    output::line(format!("trained in {}", readable_secs(seconds)))?;
    for (name, path) in places(run) {
        output::line(format!("{name:<8}{}", path.display()))?;
    }
    Ok(Outcome::Done)
}

fn places(run: &Run) -> [(&'static str, PathBuf); 2] {
    [
        ("report", run.dir().join("report.html")),
        ("bundle", run.bundle()),
    ]
}

/// Whether `dir` is there and holds anything.
pub(crate) fn is_occupied(dir: &Path) -> Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", dir.display())),
    }
}
