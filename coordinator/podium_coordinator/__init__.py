"""The coordinator: owns shards, keeps runs in Postgres, streams assignments to agents."""
