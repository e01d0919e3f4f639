//! An S3 server for trying out tl:
//!
//! ```sh
//! cargo run --example s3-server          # port 9000; or: -- 9100 --data folder
//! ```
//!
//! This is a demo, not a store to keep data in. It checks signatures and checksums, and keeps objects as files in a
//! folder, which is temporary unless you pass `--data`. It supports no object lock and no versions, and cannot list or
//! abort multipart uploads. It listens on loopback only, and its keys are public in this file.

#![allow(clippy::print_stdout, reason = "what it prints is for whoever started it")]

use std::error::Error;
use std::path::PathBuf;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

const BUCKET: &str = "timelocker";
const ACCESS_KEY: &str = "AKIADEMODEMODEMODEMO";
const SECRET: &str = "demo-secret-for-loopback-only";

/// The command line.
struct Arguments {
    port: u16,
    data: Option<PathBuf>,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut read = Self { port: 9000, data: None };
        while let Some(argument) = arguments.next() {
            if argument == "--data" {
                read.data = Some(arguments.next().ok_or("--data wants a folder")?.into());
            } else {
                read.port = argument.parse().map_err(|_| format!("`{argument}` is no port"))?;
            }
        }
        Ok(read)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    // Dropping it removes the folder and everything in it.
    let temporary = tempfile::tempdir()?;
    let data = arguments.data.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(data.join(BUCKET))?;

    let files = FileSystem::new(&data).map_err(|error| format!("{} cannot be used: {error:?}", data.display()))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET));
    let service = service.build();

    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    println!("endpoint: http://{}", listener.local_addr()?);
    println!("bucket: {BUCKET}");
    println!("export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET}");
    println!("data: {}; Ctrl-C ends it", data.display());

    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            stopped = &mut stop => return Ok(stopped?),
        };
        let service = service.clone();
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            // A client that disconnects must not stop the server.
            let _ended = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
