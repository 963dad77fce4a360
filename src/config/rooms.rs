//! The options of each room, from the settings.

use super::{CaptureConfig, Config, TracingConfig};
use crate::capture::{CaptureOptions, FileOptions};
use crate::engine::Device;
use crate::engine::remote::{IsolationOptions, RemoteOptions};
use crate::http::{self, BodyTimeouts, HttpOptions, RoutingHeaders};
use crate::listener::ListenerOptions;
use crate::repository;
use crate::repository::manifest::DeviceChoice;
use crate::repository::{Defaults, FreeMemory, IsolationPolicy, Live, LiveOptions};
use crate::settings::ByteSize;
use crate::shutdown::ShutdownOptions;
use crate::store::{MirrorOptions, StoreUrl};
use crate::telemetry::logging::{LogOptions, RequestLogOptions};
use crate::telemetry::{children_bytes, resident_bytes};
use crate::traces::TracesOptions;
use std::io;
use std::path::PathBuf;

impl Config {
    /// For the log.
    #[must_use]
    pub fn log_options(&self) -> LogOptions {
        LogOptions { format: self.log.format, filter: self.log.level.as_str().to_owned() }
    }

    /// For the lines of requests.
    #[must_use]
    pub fn request_log_options(&self) -> RequestLogOptions {
        let (mode, slow) = (self.log.requests, self.log.slow);
        RequestLogOptions { mode, slow, ..RequestLogOptions::default() }
    }

    /// For handlers.
    #[must_use]
    pub fn http_options(&self) -> HttpOptions {
        let body_timeouts =
            BodyTimeouts { idle: self.http.body_idle_timeout, total: self.http.body_timeout };
        let cors_origins = self.http.cors_origins.clone();
        let management_hosts = self.management.hosts.clone();
        let public_metrics = self.http.metrics;
        let routing = RoutingHeaders {
            key: self.http.routing_key_header.clone(),
            version: self.http.version_header,
        };
        HttpOptions { body_timeouts, public_metrics, cors_origins, management_hosts, routing }
    }

    /// For the listener for predictions.
    #[must_use]
    pub fn public_listener_options(&self) -> ListenerOptions {
        let refusal_headers = self.http.cors_origins.for_refusals();
        ListenerOptions { refusal_headers, ..self.listener_options() }
    }

    /// For the management listener, and what both have.
    #[must_use]
    pub fn listener_options(&self) -> ListenerOptions {
        ListenerOptions {
            max_connections: self.http.max_connections,
            header_timeout: self.http.header_timeout,
            keep_alive_timeout: self.http.keep_alive_timeout,
            write_timeout: self.http.write_timeout,
            ..ListenerOptions::new(http::refusal)
        }
    }

    /// For captured requests, if any are to be.
    #[must_use]
    pub fn capture_options(&self) -> Option<CaptureOptions> {
        let CaptureConfig { folder, sink, sample_rate, max_bytes, redact } = self.capture.clone();
        let ByteSize(max_bytes) = max_bytes;
        let files = folder.map(|folder| FileOptions { folder, max_bytes });
        let sink = sink.map(|it| it.as_str().to_owned());
        let is_wanted = files.is_some() || sink.is_some();
        is_wanted.then_some(CaptureOptions { sample_rate, redaction: redact, files, sink })
    }

    /// For spans of requests.
    #[must_use]
    pub fn traces_options(&self) -> TracesOptions {
        let TracingConfig { endpoint, sample_rate } = &self.tracing;
        let endpoint = endpoint.as_ref().map(|it| it.as_str().to_owned());
        TracesOptions { endpoint, sample_rate: *sample_rate }
    }

    /// For the way down.
    #[must_use]
    pub fn shutdown_options(&self) -> ShutdownOptions {
        ShutdownOptions { lame_duck: self.shutdown.lame_duck, drain: self.shutdown.drain }
    }

    /// For the child that tries models on these devices.
    ///
    /// # Errors
    ///
    /// The path of the running program cannot be found.
    pub fn remote_options(&self, devices: Vec<Device>) -> io::Result<RemoteOptions> {
        let ByteSize(memory) = self.trial.memory_bytes;
        let on_cpu = devices == [Device::Cpu];
        Ok(RemoteOptions {
            // CUDA's driver maps far more than it uses; a limit would end every trial.
            memory_bytes: on_cpu.then_some(memory),
            processor_time: Some(self.trial.timeout * self.threads_of_a_trial()),
            needs_sandbox: self.isolation.require_sandbox,
            devices,
            ..RemoteOptions::of_this_program(self.trial.timeout)?
        }
        .with_libraries(&self.general.libraries))
    }

    /// For the children in which models serve, on these devices.
    ///
    /// # Errors
    ///
    /// The path of the running program cannot be found.
    pub fn isolation_options(&self, devices: Vec<Device>) -> io::Result<IsolationOptions> {
        let child = RemoteOptions {
            // However long it serves.
            processor_time: None,
            needs_sandbox: self.isolation.require_sandbox,
            ..self.remote_options(devices)?
        };
        Ok(IsolationOptions { child, max_deaths: self.isolation.max_deaths })
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

    /// For the mirror of a store, if models lie in one.
    #[must_use]
    pub fn mirror_options(&self) -> Option<MirrorOptions> {
        let in_state = || self.general.state_dir.join("store");
        Some(MirrorOptions {
            url: StoreUrl::of(&self.general.models)?,
            cache_dir: self.store.cache_dir.clone().unwrap_or_else(in_state),
            cache_bytes: self.store.cache_bytes.0,
            // A larger one could not be loaded.
            max_file_bytes: self.limits.memory_bytes.0,
            poll: self.store.poll,
        })
    }

    /// The folder on this machine where models lie.
    #[must_use]
    pub fn models_folder(&self) -> PathBuf {
        let of_store = self.mirror_options().map(|options| options.models());
        of_store.unwrap_or_else(|| self.general.models.clone())
    }

    /// For the repository.
    #[must_use]
    pub fn repository_options(
        &self,
        libtorch: String,
        libraries: String,
    ) -> repository::RepositoryOptions {
        repository::RepositoryOptions {
            models: self.models_folder(),
            state_dir: Some(self.general.state_dir.clone()),
            keeps_decisions: true,
            trusted: self.general.trusted_models.clone(),
            isolation: IsolationPolicy {
                mode: self.isolation.mode,
                process: self.isolation.process.clone(),
                none: self.isolation.none.clone(),
            },
            libtorch,
            libraries,
            trial_timeout: self.trial.timeout,
            max_file_bytes: self.limits.memory_bytes.0,
            free_memory: self.free_memory(),
            watch: self.general.watch,
            live: Live::new(self.live_options()),
            overrides: repository::Overrides::default(),
        }
    }

    /// For the repository, what of it can change while the server runs.
    #[must_use]
    pub fn live_options(&self) -> LiveOptions {
        LiveOptions {
            named: self.general.model_folders.clone(),
            default_model: self.general.default_model.clone(),
            defaults: self.defaults(),
        }
    }

    /// What the process and those of its models may still take of its memory.
    fn free_memory(&self) -> FreeMemory {
        let limit = self.limits.memory_bytes.0;
        let taken = || Some(resident_bytes()?.saturating_add(children_bytes()));
        FreeMemory::new(move || Some(limit.saturating_sub(taken()?)))
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
