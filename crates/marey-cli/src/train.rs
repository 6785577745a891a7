//! `marey train`: a recipe in, a run folder out.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use marey::train::{Recipe, Run, Start};

use crate::{
    Outcome,
    device::DeviceArg,
    output,
    recognise::{load_to_train, train_and_report},
};

/// Arguments of `marey train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recipe, a TOML file.
    #[arg(required_unless_present_any = ["resume", "schema"])]
    recipe: Option<PathBuf>,
    /// Change a key of the recipe, for example `--set train.epochs=5`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "resume")]
    set: Vec<String>,
    /// Go on with the run in this folder, from its last checkpoint.
    #[arg(long, value_name = "RUN", conflicts_with = "recipe")]
    resume: Option<PathBuf>,
    /// Folder of run folders.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "runs",
        conflicts_with = "resume"
    )]
    runs: PathBuf,
    /// Print the JSON Schema of recipes, for editors, and do nothing else.
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    device: DeviceArg,
}

pub(crate) fn run(args: Args) -> Result<Outcome> {
    if args.schema {
        output::line(Recipe::schema())?;
        return Ok(Outcome::Done);
    }
    let chosen = args.device.choose()?;
    let (recipe, data, run, start) = match &args.resume {
        Some(dir) => {
            let run = Run::open(dir)?;
            let recipe = Recipe::read(&run.recipe_path(), &[])?;
            ensure!(
                !run.dir().join("report.json").is_file(),
                "{} is complete: its report is written. To train longer, start a new run",
                dir.display()
            );
            let data = load_to_train(&recipe)?;
            (recipe, data, run, Start::Resume)
        }
        None => {
            let path = args
                .recipe
                .as_deref()
                .expect("clap asks for a recipe where there is no --resume");
            let recipe = Recipe::read(path, &args.set)?;
            // Everything that can be wrong about the data is found before the run folder is made.
            let data = load_to_train(&recipe)?;
            let run = Run::create(&args.runs, &recipe)?;
            (recipe, data, run, Start::Fresh)
        }
    };
    output::note(format!("run {}", run.dir().display()));
    if !recipe.train.deterministic {
        output::note(
            "train.deterministic is false: this run can be resumed, but not to the same losses to the bit",
        );
    }
    train_and_report(
        &recipe,
        &data,
        &run,
        start,
        &chosen,
        &output::command_line(),
    )
}
