"""What a study tells people: facts of its folder, leaderboard, figures, verdict, page, dashboard, progress."""
