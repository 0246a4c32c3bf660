"""Archives walked through, study by study, into the queue that live work goes before."""
