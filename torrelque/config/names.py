"""The public names of this layer, which `torrelque.config` has."""

from .config import Config, ConfiguredQueue, ConfiguredWorker
from .problems import ConfigError, Problem
from .sections import (
    AlertsConfig,
    BreakerConfig,
    DashboardConfig,
    FileConfig,
    HealthConfig,
    LimitConfig,
    MetricsConfig,
    QueueConfig,
    RetryConfig,
    RuleConfig,
    ScheduleConfig,
    ServerConfig,
    SinkConfig,
    WorkerConfig,
)

__all__ = [
    'AlertsConfig',
    'BreakerConfig',
    'Config',
    'ConfigError',
    'ConfiguredQueue',
    'ConfiguredWorker',
    'DashboardConfig',
    'FileConfig',
    'HealthConfig',
    'LimitConfig',
    'MetricsConfig',
    'Problem',
    'QueueConfig',
    'RetryConfig',
    'RuleConfig',
    'ScheduleConfig',
    'ServerConfig',
    'SinkConfig',
    'WorkerConfig',
]
