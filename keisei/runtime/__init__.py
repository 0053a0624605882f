"""Where the device thread and the event loop meet: worker, queues, outbox, hub, session, sinks."""
