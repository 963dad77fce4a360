//! The options of each room, from the settings.

use super::types::{LogFormat, LogRequests};
use super::{ByteSize, Config};
use crate::engine::Device;
use crate::engine::remote::RemoteOptions;
use crate::http;
use crate::http::{BodyTimeouts, refusal_body};
use crate::listener;
use crate::repository;
use crate::repository::Defaults;
use crate::repository::manifest::DeviceChoice;
use crate::shutdown;
use crate::telemetry::logging::{self, LogOptions, RequestLogMode, RequestLogOptions};
use std::io;

impl Config {
    /// For the log.
    #[must_use]
    pub fn log_options(&self) -> LogOptions {
        let format = match self.log.format {
            LogFormat::Human => logging::LogFormat::Human,
            LogFormat::Json => logging::LogFormat::Json,
        };
        LogOptions { format, filter: self.log.level.as_str().to_owned() }
    }

    /// For the lines of requests.
    #[must_use]
    pub fn request_log_options(&self) -> RequestLogOptions {
        let mode = match self.log.requests {
            LogRequests::Errors => RequestLogMode::Errors,
            LogRequests::All => RequestLogMode::All,
            LogRequests::Sampled => RequestLogMode::Sampled,
        };
        RequestLogOptions { mode, slow: self.log.slow, ..RequestLogOptions::default() }
    }

    /// For handlers.
    #[must_use]
    pub fn http_options(&self) -> http::Options {
        let body_timeouts =
            BodyTimeouts { idle: self.http.body_idle_timeout, total: self.http.body_timeout };
        let cors_origins = self.http.cors_origins.clone();
        let management_hosts = self.management.hosts.clone();
        let public_metrics = self.http.metrics;
        http::Options { body_timeouts, public_metrics, cors_origins, management_hosts }
    }

    /// For the listener for predictions.
    #[must_use]
    pub fn public_listener_options(&self) -> listener::Options {
        let refusal_headers = self.http.cors_origins.for_refusals();
        listener::Options { refusal_headers, ..self.listener_options() }
    }

    /// For the management listener, and what both have.
    #[must_use]
    pub fn listener_options(&self) -> listener::Options {
        listener::Options {
            max_connections: self.http.max_connections,
            header_timeout: self.http.header_timeout,
            keep_alive_timeout: self.http.keep_alive_timeout,
            write_timeout: self.http.write_timeout,
            refusal_body,
            ..listener::Options::default()
        }
    }

    /// For the way down.
    #[must_use]
    pub fn shutdown_options(&self) -> shutdown::Options {
        shutdown::Options { lame_duck: self.shutdown.lame_duck, drain: self.shutdown.drain }
    }

    /// For the child that tries models on these devices.
    ///
    /// # Errors
    ///
    /// The path of the running program cannot be told.
    pub fn remote_options(&self, devices: Vec<Device>) -> io::Result<RemoteOptions> {
        let ByteSize(memory) = self.trial.memory_bytes;
        let on_cpu = devices == [Device::Cpu];
        Ok(RemoteOptions {
            // CUDA's driver maps far more than it uses; a limit would end every trial.
            memory_bytes: on_cpu.then_some(memory),
            processor_time: Some(self.trial.timeout * self.threads_of_a_trial()),
            devices,
            ..RemoteOptions::of_this_program(self.trial.timeout)?
        }
        .with_libraries(&self.general.libraries))
    }

    fn threads_of_a_trial(&self) -> u32 {
        u32::try_from(self.threads.intra_op_threads.max(1)).unwrap_or(u32::MAX)
    }

    /// The device that all models are to run on, if the configuration names one.
    #[must_use]
    pub fn fixed_device(&self) -> Option<Device> {
        match self.general.device {
            DeviceChoice::Auto => None,
            DeviceChoice::Only(device) => Some(device),
        }
    }

    /// For the repository.
    #[must_use]
    pub fn repository_options(
        &self,
        libtorch: String,
        libraries: String,
    ) -> repository::RepositoryOptions {
        repository::RepositoryOptions {
            models: self.general.models.clone(),
            named: self.general.model_folders.clone(),
            state_dir: Some(self.general.state_dir.clone()),
            default_model: self.general.default_model.clone(),
            trusted: self.general.trusted_models.clone(),
            libtorch,
            libraries,
            trial_timeout: self.trial.timeout,
            max_file_bytes: self.limits.memory_bytes.0,
            defaults: self.defaults(),
            overrides: repository::Overrides::default(),
        }
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            device: self.general.device,
            optimize: self.general.optimize,
            instances: self.threads.instances,
            intra_op_threads: self.threads.intra_op_threads,
            max_batch_size: self.batching.max_batch_size,
            max_queue_delay: self.batching.max_queue_delay,
            queue_capacity: self.batching.queue_capacity,
            max_queue_wait: self.batching.max_queue_wait.bound(),
            verify_every: self.batching.verify_every as u64,
            max_rows: self.requests.max_rows,
            max_body_bytes: self.http.max_body_bytes.0,
            timeout: self.requests.timeout,
            stuck_grace: self.limits.stuck_grace,
            max_stuck: self.limits.max_stuck_runs,
            ..Defaults::default()
        }
    }
}
